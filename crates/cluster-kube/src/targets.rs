//! The service people mean, and whether it answers.

use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::{Service, ServicePort};
use kube::ResourceExt;
use kube::api::ListParams;
use kube::client::Body;
use kube::core::Status;
use seatrial_preview::environment::ServiceTarget;
use seatrial_preview::ports::ProbeAnswer;
use seatrial_preview::{Error, Namespace, Result};

use crate::cluster::KubeCluster;
use crate::errors;

/// One request of a health check; the caller repeats it.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
const KEPT_BODY: usize = 2 << 10;

/// Ports where web applications usually listen.
const USUAL_HTTP_PORTS: [i32; 9] = [80, 3000, 4200, 5000, 5173, 8000, 8080, 8081, 8888];

pub(crate) async fn find(
    cluster: &KubeCluster,
    namespace: &Namespace,
    service: Option<&str>,
    port: Option<u16>,
) -> Result<ServiceTarget> {
    match cluster.api::<Service>(namespace).list(&ListParams::default().limit(200)).await {
        Ok(found) => choose(namespace, &found.items, service, port),
        Err(error) => Err(cluster.explain_in(namespace, &format!("list the services of {namespace}"), error).await),
    }
}

fn choose(
    namespace: &Namespace,
    services: &[Service],
    wanted: Option<&str>,
    port: Option<u16>,
) -> Result<ServiceTarget> {
    let all: Vec<Candidate> = services.iter().flat_map(candidates).collect();
    let named: Vec<&Candidate> = all.iter().filter(|found| wanted.is_none_or(|name| found.service == name)).collect();
    if named.is_empty() {
        let there: Vec<String> = services.iter().map(ResourceExt::name_any).collect();
        return Err(Error::not_found(match (wanted, there.is_empty()) {
            (_, true) => format!(
                "the namespace {namespace} has no services: the chart must contain one for the application's HTTP port"
            ),
            (Some(name), false) => {
                format!(
                    "the namespace {namespace} has no service {name:?} with a TCP port; there are {}",
                    there.join(", ")
                )
            }
            (None, false) => {
                format!("no service in the namespace {namespace} has a TCP port; there are {}", there.join(", "))
            }
        }));
    }
    let matching: Vec<&Candidate> =
        named.iter().copied().filter(|found| port.is_none_or(|port| found.port == port)).collect();
    if matching.is_empty() {
        return Err(Error::invalid(format!(
            "no service has the port {}; there are {}. Set health.port in .seatrial.yaml to one of them",
            port.unwrap_or_default(),
            names(&named)
        )));
    }
    // The clearest kind of which there is any.
    let best = matching.iter().map(|found| found.clarity).max().unwrap_or(Clarity::Tcp);
    let clearest: Vec<&Candidate> = matching.iter().copied().filter(|found| found.clarity == best).collect();
    match clearest.as_slice() {
        [only] => Ok(ServiceTarget { service: only.service.clone(), port: only.port }),
        several => Err(Error::invalid(format!(
            "it is not clear which service is the application: {}. Set health.service and health.port in .seatrial.yaml",
            names(several)
        ))),
    }
}

#[derive(Debug)]
struct Candidate {
    service: String,
    port: u16,
    clarity: Clarity,
}

/// How clearly a port says that it speaks HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Clarity {
    Tcp,
    UsualNumber,
    Named,
}

fn candidates(service: &Service) -> Vec<Candidate> {
    let Some(spec) = &service.spec else { return Vec::new() };
    if spec.type_.as_deref() == Some("ExternalName") {
        return Vec::new();
    }
    let tcp = |port: &&ServicePort| port.protocol.as_deref().unwrap_or("TCP") == "TCP";
    spec.ports
        .iter()
        .flatten()
        .filter(tcp)
        .filter_map(|port| {
            let number = u16::try_from(port.port).ok()?;
            Some(Candidate { service: service.name_any(), port: number, clarity: clarity(port) })
        })
        .collect()
}

fn clarity(port: &ServicePort) -> Clarity {
    let name = port.app_protocol.as_deref().or(port.name.as_deref()).unwrap_or_default();
    if name == "http" || name.starts_with("http-") || matches!(name, "web" | "kubernetes.io/h2c" | "kubernetes.io/ws") {
        Clarity::Named
    } else if USUAL_HTTP_PORTS.contains(&port.port) {
        Clarity::UsualNumber
    } else {
        Clarity::Tcp
    }
}

fn names(candidates: &[&Candidate]) -> String {
    let names: Vec<String> = candidates.iter().map(|found| format!("{}:{}", found.service, found.port)).collect();
    names.join(", ")
}

pub(crate) async fn probe(
    cluster: &KubeCluster,
    namespace: &Namespace,
    target: &ServiceTarget,
    path: &str,
) -> Result<ProbeAnswer> {
    let doing = format!("ask the service {}:{} for {path}", target.service, target.port);
    let url = proxy_url(namespace, target, path)?;
    let request = Request::get(url)
        .body(Body::empty())
        .map_err(|error| Error::invalid(format!("{path:?} is not a path for a health check: {error}")))?;
    let ask = async {
        let response = cluster.client.send(request).await?;
        let status = response.status();
        let mut body = response.into_body();
        let mut kept = Vec::new();
        // A body may be endless, like a stream of events.
        while kept.len() < KEPT_BODY {
            match body.frame().await {
                Some(Ok(frame)) => kept.extend_from_slice(frame.data_ref().map(AsRef::as_ref).unwrap_or_default()),
                Some(Err(_)) | None => break,
            }
        }
        kept.truncate(KEPT_BODY);
        Ok::<_, kube::Error>((status, kept))
    };
    let (status, body) = match tokio::time::timeout(PROBE_TIMEOUT, ask).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(cluster.explain_in(namespace, &doing, error).await),
        Err(_) => {
            return Err(Error::transient(format!("cannot {doing}: no answer within {} s", PROBE_TIMEOUT.as_secs())));
        }
    };
    match spoken_by_api_server(status.as_u16(), &body) {
        Some(spoken) => Err(cluster.explain_in(namespace, &doing, kube::Error::Api(spoken.boxed())).await),
        None => Ok(ProbeAnswer { status: status.as_u16(), body: String::from_utf8_lossy(&body).into_owned() }),
    }
}

/// The application's answers pass unchanged; the API server's own are a `Status` object that says
/// the same code: "no endpoints available for service", "connection refused", "forbidden".
fn spoken_by_api_server(code: u16, body: &[u8]) -> Option<Status> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    if value["kind"] != "Status" || value["apiVersion"] != "v1" || value["code"] != code {
        return None;
    }
    serde_json::from_value(value).ok()
}

/// The path is the author's: it must not climb out of the service's proxy to other parts of the
/// API, which Seatrial's own credentials would open.
fn proxy_url(namespace: &Namespace, target: &ServiceTarget, path: &str) -> Result<String> {
    let invalid = |why: &str| Error::invalid(format!("health.path {path:?} {why}"));
    if !path.starts_with('/') || path.starts_with("//") {
        return Err(invalid("must begin with one '/'"));
    }
    if path.len() > 2_048 || path.bytes().any(|byte| !byte.is_ascii_graphic() || matches!(byte, b'#' | b'\\')) {
        return Err(invalid("must be a path as in a URL: ASCII without spaces, '#' and '\\', at most 2048 characters"));
    }
    let (hierarchy, _) = path.split_once('?').unwrap_or((path, ""));
    let lower = hierarchy.to_ascii_lowercase();
    let climbs = lower.replace("%2e", ".").replace("%2f", "/").replace("%5c", "/");
    if lower.contains("%25") || climbs.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(invalid("must not contain '.' or '..' as a part"));
    }
    let dns = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    if !dns(&target.service) {
        return Err(Error::invalid(format!("{:?} is not the name of a service", target.service)));
    }
    Ok(format!("/api/v1/namespaces/{namespace}/services/{}:{}/proxy{path}", target.service, target.port))
}

pub(crate) async fn load(cluster: &KubeCluster, namespace: &Namespace, target: &ServiceTarget) -> Result<Service> {
    match cluster.api::<Service>(namespace).get(&target.service).await {
        Ok(service) => Ok(service),
        Err(kube::Error::Api(status)) if status.is_not_found() => {
            Err(match crate::namespaces::find(cluster, namespace).await? {
                None => errors::no_namespace(namespace),
                Some(_) => {
                    Error::not_found(format!("the service {} in {namespace} does not exist any more", target.service))
                }
            })
        }
        Err(error) => Err(cluster
            .explain_in(namespace, &format!("read the service {} of {namespace}", target.service), error)
            .await),
    }
}

#[cfg(test)]
mod tests {
    use seatrial_preview::ErrorKind;
    use serde_json::json;

    use super::*;

    fn service(name: &str, ports: serde_json::Value) -> Service {
        serde_json::from_value(json!({ "metadata": { "name": name }, "spec": { "ports": ports } })).unwrap()
    }

    fn chosen(services: &[Service], name: Option<&str>, port: Option<u16>) -> Result<String> {
        choose(&"pr-shop-7".parse().unwrap(), services, name, port).map(|t| format!("{}:{}", t.service, t.port))
    }

    #[test]
    fn the_only_http_port_is_chosen() {
        let database = service("db", json!([{ "port": 5432, "name": "sql" }]));
        let web = service("shop", json!([{ "port": 9090, "name": "metrics" }, { "port": 8080, "name": "http" }]));
        assert_eq!(chosen(&[database.clone(), web.clone()], None, None).unwrap(), "shop:8080");
        assert_eq!(chosen(&[database.clone(), web.clone()], Some("db"), None).unwrap(), "db:5432");
        assert_eq!(chosen(&[database.clone(), web], None, Some(9090)).unwrap(), "shop:9090");
        let usual = service("api", json!([{ "port": 3000 }]));
        assert_eq!(chosen(&[database, usual], None, None).unwrap(), "api:3000");
    }

    #[test]
    fn what_is_not_clear_names_the_candidates() {
        let both = [
            service("shop", json!([{ "port": 80, "name": "http" }])),
            service("admin", json!([{ "port": 80, "name": "http" }])),
        ];
        let error = chosen(&both, None, None).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert!(error.message.contains("shop:80, admin:80"), "{error}");
        assert_eq!(chosen(&[], None, None).unwrap_err().kind, ErrorKind::NotFound);
        let missing = chosen(&both, Some("web"), None).unwrap_err();
        assert_eq!(missing.kind, ErrorKind::NotFound);
        assert!(missing.message.contains("there are shop, admin"), "{missing}");
        assert!(chosen(&both, Some("shop"), Some(81)).unwrap_err().message.contains("there are shop:80"));
    }

    #[test]
    fn paths_stay_inside_the_proxy() {
        let namespace = "pr-shop-7".parse().unwrap();
        let target = ServiceTarget { service: "shop".to_owned(), port: 8080 };
        let url = proxy_url(&namespace, &target, "/healthz?full=1").unwrap();
        assert_eq!(url, "/api/v1/namespaces/pr-shop-7/services/shop:8080/proxy/healthz?full=1");
        assert!(proxy_url(&namespace, &target, "/.well-known/health").is_ok());
        for path in [
            "healthz",
            "//x",
            "/../../secrets",
            "/a/%2e%2E/b",
            "/a/%252e%252e/b",
            "/..%2f..%2fb",
            "/a b",
            "/a#b",
            "/é",
            "/a\\..\\b",
        ] {
            assert!(proxy_url(&namespace, &target, path).is_err(), "{path}");
        }
        let odd = ServiceTarget { service: "shop/../x".to_owned(), port: 1 };
        assert!(proxy_url(&namespace, &odd, "/").is_err());
    }

    #[test]
    fn the_api_servers_own_answers_are_known() {
        let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 503,
            "reason": "ServiceUnavailable", "message": "no endpoints available for service \"shop\"" });
        let body = serde_json::to_vec(&status).unwrap();
        assert!(spoken_by_api_server(503, &body).is_some());
        assert!(spoken_by_api_server(200, &body).is_none());
        assert!(spoken_by_api_server(503, b"down for maintenance").is_none());
    }
}

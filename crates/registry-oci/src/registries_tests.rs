//! Against a stand-in that speaks the registries' protocol, with the answers real ones give.

use seatrial_preview::ErrorKind;
use seatrial_preview::ports::Images;

use super::*;
use crate::standin::{Reply, Request, Standin, reply};

const MANIFEST_TEXT: &str = r#"{"schemaVersion":2}"#;

fn registries(named: &[&str], private: &[&str]) -> Registries {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let list = |hosts: &[&str]| hosts.iter().map(ToString::to_string).collect::<Vec<_>>();
    Registries::new(Reach::new(&list(named), &list(private), &list(private)).unwrap()).unwrap()
}

fn open(standin: &Standin) -> Registries {
    registries(&[], &[&standin.host])
}

fn manifest() -> Reply {
    reply(200, &[("docker-content-digest", &digest_of(MANIFEST_TEXT.as_bytes()))], MANIFEST_TEXT)
}

async fn find(registries: &Registries, standin: &Standin) -> Result<Option<String>> {
    Images::find_digest(registries, &format!("{}/acme/shop", standin.host), "v1").await
}

#[tokio::test]
async fn a_tag_is_found_by_its_head() {
    let standin = Standin::serve(|_, _| manifest()).await;
    let digest = find(&open(&standin), &standin).await.unwrap();
    assert_eq!(digest, Some(digest_of(MANIFEST_TEXT.as_bytes())));
    let asked = standin.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!((asked[0].method.as_str(), asked[0].path.as_str()), ("HEAD", "/v2/acme/shop/manifests/v1"));
    let accept = asked[0].header("accept").unwrap();
    for kind in ["oci.image.manifest.v1+json", "oci.image.index.v1+json", "manifest.v2+json", "manifest.list.v2+json"] {
        assert!(accept.contains(kind), "{accept}");
    }
    assert_eq!(asked[0].header("authorization"), None);
}

#[tokio::test]
async fn a_tag_that_is_not_there_is_none() {
    let standin = Standin::serve(|_, _| reply(404, &[], r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#)).await;
    assert_eq!(find(&open(&standin), &standin).await, Ok(None));
}

#[tokio::test]
async fn where_the_head_says_too_little_the_manifest_is_read() {
    for status in [200, 405] {
        let standin = Standin::serve(move |request, _| match request.method.as_str() {
            "HEAD" => reply(status, &[("docker-content-digest", "sha256:nonsense")], ""),
            _ => reply(200, &[], MANIFEST_TEXT),
        })
        .await;
        let digest = find(&open(&standin), &standin).await.unwrap();
        assert_eq!(digest, Some(digest_of(MANIFEST_TEXT.as_bytes())), "{status}");
    }
}

/// Wants a token for manifests, and gives it at `/token`.
fn with_token(request: &Request, own: &str) -> Reply {
    if request.path.starts_with("/token") {
        assert_eq!(request.header("authorization"), None);
        return reply(200, &[], r#"{"token":"t0ken","expires_in":300}"#);
    }
    match request.header("authorization") {
        Some("Bearer t0ken") => manifest(),
        _ => {
            let realm =
                format!(r#"Bearer realm="http://{own}/token?a=b",service="reg",scope="repository:acme/shop:pull""#);
            reply(401, &[("www-authenticate", &realm)], "")
        }
    }
}

#[tokio::test]
async fn a_token_is_fetched_once_and_used_again() {
    let standin = Standin::serve(with_token).await;
    let registries = open(&standin);
    assert!(find(&registries, &standin).await.unwrap().is_some());
    assert!(find(&registries, &standin).await.unwrap().is_some());
    let paths: Vec<String> = standin.asked().into_iter().map(|request| request.path).collect();
    let token = "/token?a=b&scope=repository%3Aacme%2Fshop%3Apull&service=reg";
    let manifest = "/v2/acme/shop/manifests/v1";
    assert_eq!(paths, [manifest, token, manifest, manifest]);
}

#[tokio::test]
async fn a_token_for_another_repository_is_another_one() {
    let standin = Standin::serve(with_token).await;
    let registries = open(&standin);
    assert!(find(&registries, &standin).await.unwrap().is_some());
    let other = format!("{}/acme/other", standin.host);
    assert!(Images::find_digest(&registries, &other, "v1").await.unwrap().is_some());
    assert_eq!(standin.asked()[3].header("authorization"), None);
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let basic = Standin::serve(|_, _| reply(401, &[("www-authenticate", "Basic realm=\"x\"")], "")).await;
    let denied = Standin::serve(|_, _| reply(403, &[], "")).await;
    let no_token = Standin::serve(|request, own| {
        if request.path.starts_with("/token") {
            reply(403, &[], r#"{"errors":[{"code":"DENIED"}]}"#)
        } else {
            reply(401, &[("www-authenticate", &format!("Bearer realm=\"http://{own}/token\""))], "")
        }
    })
    .await;
    let token_is_not_enough = Standin::serve(|request, own| {
        if request.path.starts_with("/token") {
            reply(200, &[], r#"{"access_token":"x"}"#)
        } else {
            reply(401, &[("www-authenticate", &format!("Bearer realm=\"http://{own}/token\""))], "")
        }
    })
    .await;
    for standin in [basic, denied, no_token, token_is_not_enough] {
        let error = find(&open(&standin), &standin).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Forbidden, "{error}");
        assert!(error.message.contains("without credentials") && error.message.contains("waitFor"), "{error}");
        assert!(error.message.contains(&standin.host) && error.message.contains("acme/shop"), "{error}");
    }
}

fn with_credentials(standin: &Standin, others: &[&str]) -> Registries {
    let hosts: Vec<&str> = [standin.host.as_str()].into_iter().chain(others.iter().copied()).collect();
    let config = format!(r#"{{"auths": {{"{}": {{"username": "user", "password": "pass"}}}}}}"#, standin.host);
    registries(&[], &hosts).with_credentials(Credentials::parse(&config.into()).unwrap())
}

/// `user:pass`
const BASIC: &str = "Basic dXNlcjpwYXNz";

#[tokio::test]
async fn credentials_are_given_where_they_are_asked_for() {
    let basic = Standin::serve(|request, _| match request.header("authorization") {
        Some(BASIC) => manifest(),
        _ => reply(401, &[("www-authenticate", "Basic realm=\"x\"")], ""),
    })
    .await;
    let token =
        Standin::serve(|request, own| match (request.path.starts_with("/token"), request.header("authorization")) {
            (true, Some(BASIC)) | (false, _) => {
                let unnamed = Request {
                    headers: request
                        .headers
                        .iter()
                        .filter(|(name, _)| name != "authorization" || !request.path.starts_with("/token"))
                        .cloned()
                        .collect(),
                    ..request.clone()
                };
                with_token(&unnamed, own)
            }
            (true, _) => reply(401, &[], ""),
        })
        .await;
    for standin in [&basic, &token] {
        assert!(find(&with_credentials(standin, &[]), standin).await.unwrap().is_some());
        assert_eq!(standin.asked()[0].header("authorization"), None, "only when asked");
        assert_eq!(find(&open(standin), standin).await.unwrap_err().kind, ErrorKind::Forbidden);
    }
    let open_to_all = Standin::serve(|_, _| manifest()).await;
    assert!(find(&with_credentials(&open_to_all, &[]), &open_to_all).await.unwrap().is_some());
    assert_eq!(open_to_all.asked()[0].header("authorization"), None);

    let refusing = Standin::serve(|_, _| reply(403, &[], "")).await;
    let error = find(&with_credentials(&refusing, &[]), &refusing).await.unwrap_err();
    assert!(error.kind == ErrorKind::Forbidden && error.message.contains("the user that Seatrial has"), "{error}");
}

#[tokio::test]
async fn credentials_are_given_to_nobody_else() {
    let other = Standin::serve(|_, _| reply(200, &[], r#"{"token":"t0ken"}"#)).await;
    let realm = format!("Bearer realm=\"http://{}/token\"", other.host);
    let challenges = Standin::serve(move |request, _| match request.header("authorization") {
        Some(_) => manifest(),
        None => reply(401, &[("www-authenticate", &realm)], ""),
    })
    .await;
    // In the clear, another host's token service gets no password.
    assert!(find(&with_credentials(&challenges, &[&other.host]), &challenges).await.unwrap().is_some());
    assert_eq!(other.asked()[0].header("authorization"), None);

    let to = format!("http://{}/elsewhere", other.host);
    let redirects = Standin::serve(move |request, _| match request.header("authorization") {
        Some(_) => reply(307, &[("location", &to)], ""),
        None => reply(401, &[("www-authenticate", "Basic")], ""),
    })
    .await;
    let _ = find(&with_credentials(&redirects, &[&other.host]), &redirects).await;
    assert_eq!(redirects.asked()[1].header("authorization"), Some(BASIC));
    let asked = other.asked();
    assert!(asked.len() > 1 && asked.iter().all(|request| request.header("authorization").is_none()), "{asked:?}");
}

#[tokio::test]
async fn what_passes_is_transient_and_says_when() {
    for (status, header, wait) in [
        (429, Some("17"), Some(17)),
        (429, None, Some(60)),
        (429, Some("999999"), Some(3600)),
        (429, Some("Wed, 21 Oct 2015 07:28:00 GMT"), Some(0)),
        (503, Some("5"), Some(5)),
        (500, None, None),
        (502, Some("soon"), None),
    ] {
        let standin = Standin::serve(move |_, _| {
            let headers: Vec<(&'static str, &str)> = header.iter().map(|value| ("retry-after", *value)).collect();
            reply(status, &headers, "")
        })
        .await;
        let error = find(&open(&standin), &standin).await.unwrap_err();
        assert!(error.is_transient(), "{status}: {error}");
        assert_eq!(error.retry_after, wait.map(Duration::from_secs), "{status} {header:?}");
    }
    let gone = Standin::serve(|_, _| manifest()).await;
    let registries = open(&gone);
    let image = format!("{}/acme/shop", gone.host);
    gone.stop().await;
    let error = Images::find_digest(&registries, &image, "v1").await.unwrap_err();
    assert!(error.is_transient() && error.message.contains("cannot be reached"), "{error}");
}

#[tokio::test]
async fn private_addresses_are_not_asked() {
    let standin = Standin::serve(|_, _| manifest()).await;
    let port = standin.host.rsplit(':').next().unwrap();
    let http: Vec<String> = [format!("127.0.0.1:{port}"), format!("localhost:{port}")].into();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let registries = Registries::new(Reach::new(&[], &[], &http).unwrap()).unwrap();
    // By number it is seen at once, by name when it is resolved.
    for host in &http {
        let error = Images::find_digest(&registries, &format!("{host}/acme/shop"), "v1").await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Forbidden, "{error}");
        assert!(error.message.contains("private address") && error.message.contains(host), "{error}");
    }
    assert!(standin.asked().is_empty());
    let private = Registries::new(Reach::new(&[], &http, &http).unwrap()).unwrap();
    for host in &http {
        assert!(Images::find_digest(&private, &format!("{host}/acme/shop"), "v1").await.unwrap().is_some(), "{host}");
    }
}

#[tokio::test]
async fn the_list_of_hosts_is_for_what_settings_name() {
    let standin = Standin::serve(|_, _| manifest()).await;
    let error = find(&registries(&["ghcr.io"], &[&standin.host]), &standin).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Forbidden, "{error}");
    assert!(error.message.contains("SEATRIAL_REGISTRY_HOSTS"), "{error}");
    assert!(find(&registries(&[&standin.host], &[&standin.host]), &standin).await.unwrap().is_some());
    assert_eq!(standin.asked().len(), 1);
}

#[tokio::test]
async fn nobody_is_led_to_a_private_address() {
    let target = Standin::serve(|_, _| manifest()).await;
    let host = target.host.clone();
    let elsewhere = move |path: &str| format!("http://{host}{path}");
    let to = elsewhere("/v2/acme/shop/manifests/v1");
    let redirects = Standin::serve(move |_, _| reply(307, &[("location", &to)], "")).await;
    let realm = format!("Bearer realm=\"{}\"", elsewhere("/token"));
    let challenges = Standin::serve(move |_, _| reply(401, &[("www-authenticate", &realm)], "")).await;
    for standin in [&redirects, &challenges] {
        let error = find(&open(standin), standin).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Forbidden, "{error}");
    }
    assert!(target.asked().is_empty(), "{:?}", target.asked());
    // Allowed, both would have led there.
    for standin in [&redirects, &challenges] {
        let _ = find(&registries(&[], &[&standin.host, &target.host]), standin).await;
    }
    assert_eq!(target.asked().len(), 2);
}

#[tokio::test]
async fn a_token_stays_with_its_registry() {
    let other = Standin::serve(|_, _| manifest()).await;
    let to = format!("http://{}/elsewhere", other.host);
    let standin = Standin::serve(move |request, own| match request.header("authorization") {
        Some(_) => reply(302, &[("location", &to)], ""),
        None => with_token(request, own),
    })
    .await;
    find(&registries(&[], &[&standin.host, &other.host]), &standin).await.unwrap();
    assert_eq!(other.asked().len(), 1);
    assert_eq!(other.asked()[0].header("authorization"), None);
}

#[tokio::test]
async fn redirects_end() {
    let standin = Standin::serve(|request, _| reply(302, &[("location", &request.path)], "")).await;
    let error = find(&open(&standin), &standin).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
    assert_eq!(standin.asked().len(), 6);
}

#[tokio::test]
async fn what_is_too_large_or_something_else_is_refused() {
    let large = Standin::serve(|_, _| reply(200, &[], vec![b'x'; 5 * 1024 * 1024])).await;
    let repository = Repository::parse(&format!("{}/shop", large.host)).unwrap();
    let error = open(&large).find_manifest(&repository, "v1").await.unwrap_err();
    assert!(error.kind == ErrorKind::Invalid && error.message.contains("4096 KiB"), "{error}");

    let standin = Standin::serve(|_, _| reply(200, &[], "something else")).await;
    let repository = Repository::parse(&format!("{}/shop", standin.host)).unwrap();
    let (registries, asked) = (open(&standin), digest_of(b"what was asked for"));
    let error = registries.find_manifest(&repository, &asked).await.unwrap_err();
    assert!(error.message.contains("something else"), "{error}");
    let error = registries.download_blob(&repository, &asked, SMALL).await.unwrap_err();
    assert!(error.message.contains("something else"), "{error}");
    let right = digest_of(b"something else");
    assert_eq!(registries.find_manifest(&repository, &right).await.unwrap().unwrap().digest, right);
    assert_eq!(registries.download_blob(&repository, &right, SMALL).await.unwrap(), "something else");
}

#[tokio::test]
async fn all_pages_of_tags_are_read() {
    let standin = Standin::serve(|request, _| match request.path.as_str() {
        "/v2/shop/tags/list" => {
            let link = "</v2/shop/tags/list?last=b>; rel=\"next\"";
            reply(200, &[("link", link)], r#"{"name":"shop","tags":["a","b"]}"#)
        }
        "/v2/shop/tags/list?last=b" => reply(200, &[], r#"{"name":"shop","tags":["c"]}"#),
        "/v2/empty/tags/list" => reply(200, &[], r#"{"name":"empty","tags":null}"#),
        "/v2/web/tags/list" => reply(200, &[], "<html>"),
        _ => reply(404, &[], ""),
    })
    .await;
    let registries = open(&standin);
    let tags = |name: &str| {
        let repository = Repository::parse(&format!("{}/{name}", standin.host)).unwrap();
        let registries = &registries;
        async move { registries.list_tags(&repository).await }
    };
    assert_eq!(tags("shop").await.unwrap().unwrap(), ["a", "b", "c"]);
    assert_eq!(tags("empty").await.unwrap().unwrap(), [""; 0]);
    assert_eq!(tags("missing").await.unwrap(), None);
    assert!(tags("web").await.unwrap_err().message.contains("as a registry does"));
}

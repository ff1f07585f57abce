//! Who is let in. Decided by path and before any handler; what is not listed as open is closed.

use std::sync::Arc;
use std::time::Duration;

use poem::http::{Method, StatusCode, header};
use poem::{Endpoint, IntoResponse, Request, Response, Result};
use seatrial_operations::{Denied, Principal, Via};
use tokio::time::timeout;

use crate::config::Api;
use crate::problems::ProblemResponse;
use crate::wire::Problem;
use crate::{address, assets, pages, schema, session};

/// Bodies of everything but the webhook.
const BODY_LIMIT: usize = 1024 * 1024;
/// For reading a request, and again for beginning its answer. What operations ask of the cluster and
/// of GitHub is bounded by 10 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Who asks; in the extensions of every request that was let in.
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub Principal);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    /// Answers anybody.
    Open,
    /// Answers anybody who comes from our own pages.
    SignIn,
    /// For programs: refusals are problem+json.
    Program,
    /// For people: refusals lead to the sign-in page.
    Page,
}

fn door(path: &str) -> Door {
    match path {
        // The webhook checks its signature; health says nothing that is worth keeping.
        "/healthz" | "/readyz" | "/api/webhooks/github" | schema::PATH => Door::Open,
        path if assets::is_asset(path) => Door::Open,
        "/sign-in" | "/sign-in/github" | "/sign-in/github/callback" | "/setup" => Door::SignIn,
        "/metrics" | "/api" => Door::Program,
        path if path.starts_with("/api/") && !path.starts_with("/api/docs") => Door::Program,
        _ => Door::Page,
    }
}

/// Lets a request in, or answers it.
pub(crate) async fn admit<E: Endpoint>(api: Arc<Api>, next: Arc<E>, mut request: Request) -> Result<Response> {
    let door = door(request.uri().path());
    if door != Door::Open {
        match check(&api, door, &request).await {
            Ok(caller) => {
                if let Some(caller) = caller {
                    request.extensions_mut().insert(caller);
                }
            }
            Err(refusal) => return Ok(*refusal),
        }
        let body = request.take_body();
        if !body.is_empty() {
            match timeout(REQUEST_TIMEOUT, body.into_bytes_limit(BODY_LIMIT)).await {
                Ok(body) => request.set_body(body?),
                Err(_) => return Ok(*timed_out()),
            }
        }
    }
    // Streams begin within that time, and go on as long as they are listened to.
    match timeout(REQUEST_TIMEOUT, next.call(request)).await {
        Ok(answer) => answer.map(IntoResponse::into_response),
        Err(_) => Ok(*timed_out()),
    }
}

fn timed_out() -> Box<Response> {
    let sentence = format!(
        "the request was not sent, or could not be answered, within {} s: try again",
        REQUEST_TIMEOUT.as_secs()
    );
    refused(StatusCode::REQUEST_TIMEOUT, "request_timeout", &sentence)
}

async fn check(api: &Api, door: Door, request: &Request) -> Result<Option<Caller>, Box<Response>> {
    let path = request.uri().path();
    // Scrapers come by address.
    if path != "/metrics" {
        check_host(api, request)?;
    }
    if matches!(door, Door::SignIn | Door::Open) {
        check_origin(api, request)?;
        return Ok(None);
    }
    let caller = match (door, identify(api, request).await) {
        (_, Ok(principal)) => {
            let address = address::client(request, &api.config.trusted_proxies);
            Caller(principal.coming(via(path), address))
        }
        (_, Err(Denied::Unavailable(sentence))) => {
            let code = Denied::Unavailable(String::new()).code();
            return Err(refused(StatusCode::SERVICE_UNAVAILABLE, code, &sentence));
        }
        (Door::Page, Err(denied)) => return Err(Box::new(pages::ask_to_sign_in(api, &denied, request))),
        (_, Err(denied)) => {
            if denied == Denied::Wrong
                && let Err(too_many) = api.limits.try_from(address::client(request, &api.config.trusted_proxies))
            {
                return Err(Box::new(ProblemResponse(too_many.into()).into_response()));
            }
            return Err(Box::new(unauthorized(&denied)));
        }
    };
    check_origin(api, request)?;
    // How busy this is concerns whoever runs it.
    if path == "/metrics" && caller.0.operator_role().is_none() {
        return Err(refused(StatusCode::FORBIDDEN, "forbidden", "the metrics are for operators' tokens"));
    }
    Ok(Some(caller))
}

fn via(path: &str) -> Via {
    match path {
        path if path.starts_with("/api/mcp") => Via::Mcp,
        path if path.starts_with("/api/") => Via::Rest,
        _ => Via::Page,
    }
}

async fn identify(api: &Api, request: &Request) -> Result<Principal, Denied> {
    let access = api.operations.access();
    match request.header(header::AUTHORIZATION) {
        Some(value) => {
            let token = value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
            access.authenticate(token.map(|(_, token)| token)).await
        }
        None => match session::cookie(api, request) {
            Some(cookie) => access.session(&cookie).await,
            None => access.authenticate(None).await,
        },
    }
}

/// Another name that leads here (DNS rebinding) is none of ours.
fn check_host(api: &Api, request: &Request) -> Result<(), Box<Response>> {
    let host = session::authority(request).map(|authority| without_port(&authority).to_ascii_lowercase());
    match host {
        Some(host) if api.config.hosts().contains(&host) => Ok(()),
        _ => Err(refused(
            StatusCode::MISDIRECTED_REQUEST,
            "host_not_allowed",
            "this server does not answer under this host name: set SEATRIAL_PUBLIC_URL to the address people use",
        )),
    }
}

/// What changes something comes from our own pages, or from a program with a token.
fn check_origin(api: &Api, request: &Request) -> Result<(), Box<Response>> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let mcp = request.uri().path().starts_with("/api/mcp");
    if reads && !mcp {
        return Ok(());
    }
    let own = match request.header(header::ORIGIN) {
        Some(origin) => is_own(api, origin, request),
        // Browsers always say where a form or a script came from.
        None => request.headers().contains_key(header::AUTHORIZATION),
    };
    if own {
        return Ok(());
    }
    Err(refused(StatusCode::FORBIDDEN, "cross_origin", "this request does not come from Seatrial's own pages"))
}

fn is_own(api: &Api, origin: &str, request: &Request) -> bool {
    let public = api.config.public_url.as_ref().is_some_and(|url| url.origin().ascii_serialization() == origin);
    let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    public || authority.is_some() && authority.map(str::to_owned) == session::authority(request)
}

fn without_port(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    authority.split(':').next().unwrap_or(authority)
}

fn refused(status: StatusCode, code: &str, sentence: &str) -> Box<Response> {
    Box::new(ProblemResponse(Problem::new(status, code, sentence)).into_response())
}

fn unauthorized(denied: &Denied) -> Response {
    let problem = Problem::new(StatusCode::UNAUTHORIZED, denied.code(), denied.to_string());
    let challenge = match denied {
        Denied::Wrong => "Bearer realm=\"seatrial\", error=\"invalid_token\"",
        _ => "Bearer realm=\"seatrial\"",
    };
    ProblemResponse(problem).with_header(header::WWW_AUTHENTICATE, challenge).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_is_open() {
        for open in ["/healthz", "/readyz", "/api/webhooks/github", "/assets/seatrial.css", schema::PATH] {
            assert_eq!(door(open), Door::Open, "{open}");
        }
        for sign_in in ["/sign-in", "/sign-in/github", "/sign-in/github/callback", "/setup"] {
            assert_eq!(door(sign_in), Door::SignIn, "{sign_in}");
        }
        for page in [
            "/",
            "/previews/x",
            "/setup/",
            "/sign-in/other",
            "//healthz",
            "/healthz/",
            "/assets/../x",
            "/assets/other",
            "/api/docs",
        ] {
            assert_eq!(door(page), Door::Page, "{page}");
        }
        for program in ["/metrics", "/api/v1/previews", "/api/mcp", "/api/webhooks/github/", "/api/openapi.json"] {
            assert_eq!(door(program), Door::Program, "{program}");
        }
    }

    #[test]
    fn ports_are_cut_off() {
        for (authority, host) in [("a:1", "a"), ("a", "a"), ("[::1]:80", "::1"), ("[::1]", "::1"), ("", "")] {
            assert_eq!(without_port(authority), host);
        }
    }
}

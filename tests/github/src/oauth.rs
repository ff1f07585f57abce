//! GitHub's web sign-in: an authorization code with PKCE, bought for a person's token.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;
use url::form_urlencoded::Serializer;

use crate::apps::App;
use crate::auth::Token;
use crate::call::Call;
use crate::pages::{self, authorize};
use crate::reply::{Refusal, Reply};
use crate::state::State;
use crate::users::AccountKind;

/// Parameters, from wherever they came.
pub(crate) type Fields = BTreeMap<String, String>;

/// What a code was given out for.
#[derive(Debug)]
pub(crate) struct Code {
    login: String,
    redirect_uri: String,
    challenge: String,
    scope: String,
    expires_at: DateTime<Utc>,
}

/// What an app asks of a person.
pub(crate) struct Request {
    /// As it was given, for comparison.
    redirect_uri: String,
    pub(crate) redirect: Url,
    state: String,
    challenge: String,
    scope: String,
}

/// Whether a path belongs to the sign-in, where people and not programs are answered.
pub(crate) fn concerns(call: &Call) -> bool {
    call.segments.first().is_some_and(|first| first == "login")
}

/// Answers a call to the sign-in.
pub(crate) fn answer(state: &mut State, call: &Call) -> Reply {
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    match (call.method.as_str(), segments.as_slice()) {
        ("GET", ["login", "oauth", "authorize"]) => ask(state, call),
        ("POST", ["login", "oauth", "authorize"]) => decide(state, call),
        ("POST", ["login", "oauth", "access_token"]) => access_token(state, call),
        _ => pages::problem(&Refusal::not_found()),
    }
}

fn field<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.get(name).map(String::as_str).unwrap_or_default()
}

/// The page, or, where `login` says who, what its button answers.
fn ask(state: &mut State, call: &Call) -> Reply {
    let fields: Fields = call.query.iter().cloned().collect();
    let request = match request(&state.app, &fields) {
        Ok(request) => request,
        Err(reply) => return reply,
    };
    match field(&fields, "login") {
        "" => authorize::page_for(state, &request, &fields),
        login => grant(state, &request, login),
    }
}

/// What the page's buttons do.
fn decide(state: &mut State, call: &Call) -> Reply {
    if let Err(refusal) = pages::pressed_here(call) {
        return pages::problem(&refusal);
    }
    let fields = call.form();
    let request = match request(&state.app, &fields) {
        Ok(request) => request,
        Err(reply) => return reply,
    };
    if field(&fields, "decision") != "authorize" {
        return request.back(&[
            ("error", "access_denied"),
            ("error_description", "The user has denied your application access."),
            (
                "error_uri",
                "/apps/building-integrations/setting-up-and-registering-oauth-apps/\
                 troubleshooting-authorization-request-errors/#access-denied",
            ),
        ]);
    }
    grant(state, &request, field(&fields, "login").trim())
}

/// What is asked, if it may be; what goes back otherwise.
fn request(app: &App, fields: &Fields) -> Result<Request, Reply> {
    if field(fields, "client_id") != app.client_id {
        return Err(pages::problem(&Refusal::not_found()));
    }
    let registered = app.callback_urls.first().map_or("", String::as_str);
    let redirect_uri = match field(fields, "redirect_uri") {
        "" => registered,
        given => given,
    };
    let known = app.callback_urls.is_empty() || app.callback_urls.iter().any(|url| url == redirect_uri);
    let parsed = Url::parse(if known { redirect_uri } else { registered });
    let Ok(redirect) = parsed else {
        return Err(pages::problem(&Refusal::new(400, "The redirect_uri is not a URL.")));
    };
    let request = Request {
        redirect_uri: redirect_uri.to_owned(),
        redirect,
        state: field(fields, "state").to_owned(),
        challenge: field(fields, "code_challenge").to_owned(),
        scope: field(fields, "scope").to_owned(),
    };
    if !known {
        return Err(request.back(&[
            ("error", "redirect_uri_mismatch"),
            ("error_description", MISMATCH),
            (
                "error_uri",
                "/apps/building-integrations/setting-up-and-registering-oauth-apps/\
                 troubleshooting-authorization-request-errors/#redirect-uri-mismatch",
            ),
        ]));
    }
    // A SHA-256 in base64 has 43 characters.
    if !request.challenge.is_empty()
        && (field(fields, "code_challenge_method") != "S256" || request.challenge.len() != 43)
    {
        return Err(request.back(&[
            ("error", "invalid_request"),
            ("error_description", "The code_challenge must be 43 characters, its method S256."),
        ]));
    }
    Ok(request)
}

impl Request {
    /// Back to the app, with an answer and the state it gave.
    fn back(&self, answer: &[(&str, &str)]) -> Reply {
        let mut url = self.redirect.clone();
        {
            let mut query = url.query_pairs_mut();
            query.extend_pairs(answer);
            if !self.state.is_empty() {
                query.append_pair("state", &self.state);
            }
        }
        Reply::redirect(302, url.into())
    }
}

/// Makes a code for a person; whoever is named is who they say they are.
fn grant(state: &mut State, request: &Request, login: &str) -> Reply {
    let plain = |character: char| character.is_ascii_alphanumeric() || character == '-' || character == '_';
    if login.is_empty() || login.len() > 39 || !login.chars().all(plain) {
        return pages::problem(&Refusal::unprocessable("That is not a login."));
    }
    let account = state.account(login, AccountKind::User);
    if account.kind != AccountKind::User {
        return pages::problem(&Refusal::unprocessable(format!("{} is no person.", account.login)));
    }
    let code = uuid::Uuid::new_v4().simple().to_string()[..20].to_owned();
    let reply = request.back(&[("code", &code)]);
    state.codes.insert(
        code,
        Code {
            login: account.login,
            redirect_uri: request.redirect_uri.clone(),
            challenge: request.challenge.clone(),
            scope: request.scope.clone(),
            expires_at: state.clock.now() + Duration::minutes(10),
        },
    );
    reply
}

const MISMATCH: &str = "The redirect_uri MUST match the registered callback URL for this application.";

fn bad_code() -> Value {
    json!({
        "error": "bad_verification_code",
        "error_description": "The code passed is incorrect or expired.",
        "error_uri": "/apps/managing-oauth-apps/troubleshooting-oauth-app-access-token-request-errors/\
                      #bad-verification-code",
    })
}

/// `POST /login/oauth/access_token`: errors come with 200, as from GitHub.
fn access_token(state: &mut State, call: &Call) -> Reply {
    let json = call.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
    let fields = match serde_json::from_slice(&call.body) {
        Ok(fields) if json => fields,
        _ => call.form(),
    };
    let answer = exchange(state, &fields).unwrap_or_else(|error| error);
    if call.header("accept").is_some_and(|accept| accept.contains("application/json")) {
        return Reply::ok(answer).header("Cache-Control", "no-store");
    }
    let pairs = answer.as_object().into_iter().flatten();
    let pairs = pairs.map(|(name, value)| (name, value.as_str().unwrap_or_default()));
    let form = Serializer::new(String::new()).extend_pairs(pairs).finish();
    Reply::bytes("application/x-www-form-urlencoded; charset=utf-8", form).header("Cache-Control", "no-store")
}

fn exchange(state: &mut State, fields: &Fields) -> Result<Value, Value> {
    let app = &state.app;
    if field(fields, "client_id") != app.client_id || field(fields, "client_secret") != app.client_secret {
        return Err(json!({
            "error": "incorrect_client_credentials",
            "error_description": "The client_id and/or client_secret passed are incorrect.",
            "error_uri": "/apps/managing-oauth-apps/troubleshooting-oauth-app-access-token-request-errors/\
                          #incorrect-client-credentials",
        }));
    }
    // Whatever comes of it: a code is good for one attempt.
    let code = state.codes.remove(field(fields, "code")).ok_or_else(bad_code)?;
    if code.expires_at <= state.clock.now() {
        return Err(bad_code());
    }
    // GitHub does not insist on it, only on its being the same.
    let given = fields.get("redirect_uri");
    if given.is_some_and(|given| *given != code.redirect_uri) {
        return Err(json!({
            "error": "redirect_uri_mismatch",
            "error_description": MISMATCH,
            "error_uri": "/apps/managing-oauth-apps/troubleshooting-authorization-request-errors/\
                          #redirect-uri-mismatch2",
        }));
    }
    let verifier = field(fields, "code_verifier");
    if !code.challenge.is_empty() && URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)) != code.challenge {
        return Err(bad_code());
    }
    // A GitHub App's client id begins with Iv, and its tokens have permissions instead of scopes.
    let (prefix, scope) = if state.app.client_id.starts_with("Iv") {
        ("ghu", String::new())
    } else {
        ("gho", code.scope.split([' ', ',']).collect::<Vec<_>>().join(","))
    };
    let token = format!("{prefix}_{}", uuid::Uuid::new_v4().simple());
    state.tokens.insert(token.clone(), Token::Personal { login: code.login });
    Ok(json!({ "access_token": token, "token_type": "bearer", "scope": scope }))
}

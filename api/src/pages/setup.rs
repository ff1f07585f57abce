//! The setup link of the first start: an operator's token for whoever can read the program's output.

use std::sync::Arc;

use maud::html;
use poem::http::StatusCode;
use poem::web::{Data, Form, Query};
use poem::{Request, Response, handler};
use seatrial_operations::{OperationError, SetupDone};
use secrecy::ExposeSecret as _;
use serde::Deserialize;

use super::layout::{Section, Shell};
use super::sign_in::with_cookie;
use crate::config::Api;
use crate::{address, session};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Offer {
    code: String,
}

/// Opening the link uses nothing up: mail scanners and previews of links open links, too.
#[handler]
pub(super) async fn page(api: Data<&Arc<Api>>, request: &Request, offer: Query<Offer>) -> Response {
    if let Err(too_many) = api.limits.try_from(address::client(request, &api.config.trusted_proxies)) {
        return super::error(&too_many.into());
    }
    match api.operations.access().is_setup_offered(&offer.code).await {
        Ok(true) => {
            let body = html! {
                section.card.narrow {
                    h1 { "Set up Seatrial" }
                    p { "Nobody can administer this Seatrial yet. The button makes an operator's token, shows it once, and signs you in." }
                    form.stack method="post" action="/setup" {
                        input type="hidden" name="code" value=(offer.code);
                        button.primary type="submit" { "Make the operator's token" }
                    }
                }
            };
            Shell::new("Set up", Section::None, body).respond(StatusCode::OK)
        }
        Ok(false) => super::error(&used_up().into()),
        Err(denied) => super::error(&OperationError::from(denied).into()),
    }
}

#[handler]
pub(super) async fn finish(api: Data<&Arc<Api>>, request: &Request, offer: Form<Offer>) -> Response {
    if let Err(too_many) = api.limits.try_from(address::client(request, &api.config.trusted_proxies)) {
        return super::error(&too_many.into());
    }
    let access = api.operations.access();
    let SetupDone { token, principal } = match access.set_up(&offer.code).await {
        Ok(done) => done,
        Err(failure) => return super::error(&failure.into()),
    };
    let body = html! {
        section.card.narrow {
            h1 { "This is your token" }
            p.note role="status" { "It is shown now and never again. Keep it where you keep passwords." }
            p.token { code #token { (token.expose_secret()) } }
            p.quiet {
                "You are signed in with it. Next: make teams and give them their repositories, with "
                code { "seatrial team create" } " and " code { "seatrial project add" } ", or over the " a href="/api/docs" { "API" } "."
            }
            p { a.button.primary href="/" { "To the previews" } }
        }
    };
    let response = Shell::new("Set up", Section::None, body).respond(StatusCode::OK);
    match access.open_session(&principal).await {
        Ok(cookie) => with_cookie(response, &session::set(&api, request, cookie.expose_secret())),
        // The token is on the page, and good.
        Err(_) => response,
    }
}

fn used_up() -> OperationError {
    OperationError::NotFound {
        code: "setup_used_up",
        sentence: "This setup link has been used, has ended, or is not that of the last start. Sign in, or start Seatrial again for another.".to_owned(),
    }
}

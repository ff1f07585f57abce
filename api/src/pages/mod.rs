//! The pages: rendered here, useful without JavaScript, kept current by server-sent events where
//! there is JavaScript. All text goes through maud, which escapes it.

mod actions;
mod badges;
mod deliveries;
mod failure;
mod format;
mod layout;
mod logs;
mod pods;
mod preview;
mod previews;
mod run;
mod runs;
mod setup;
mod sign_in;
mod timeline;

use maud::html;
use poem::http::{Method, StatusCode, header};
use poem::{Request, Response, Route, get, post};
use seatrial_operations::{Denied, OperationError};

use crate::config::Api;
use crate::wire::Problem;
use layout::{Section, Shell};

pub(crate) fn routes() -> Route {
    Route::new()
        .at("/", get(previews::page))
        .at("/previews/:preview", get(preview::page))
        .at("/previews/:preview/deploy", post(actions::deploy))
        .at("/previews/:preview/retry", post(actions::retry))
        .at("/previews/:preview/sleep", post(actions::sleep))
        .at("/previews/:preview/wake", post(actions::wake))
        .at("/previews/:preview/pin", post(actions::pin))
        .at("/previews/:preview/unpin", post(actions::unpin))
        .at("/previews/:preview/delete", post(actions::delete))
        .at("/runs", get(runs::page))
        .at("/runs/:run", get(run::page))
        .at("/runs/:run/retry", post(actions::retry_run))
        .at("/runs/:run/cancel", post(actions::cancel_run))
        .at("/deliveries", get(deliveries::page))
        .at("/sign-in", get(sign_in::page).post(sign_in::enter))
        .at("/sign-in/github", get(sign_in::to_github))
        .at("/sign-in/github/callback", get(sign_in::from_github))
        .at("/setup", get(setup::page).post(setup::finish))
        .at("/sign-out", post(sign_in::leave))
}

/// What a page's handler made, or the page that says why it made nothing.
fn show(made: Result<Shell, OperationError>) -> Response {
    match made {
        Ok(shell) => shell.respond(StatusCode::OK),
        Err(error) => self::error(&error.into()),
    }
}

/// A page that says what went wrong.
pub(crate) fn error(problem: &Problem) -> Response {
    let body = html! {
        section.card.narrow {
            p.eyebrow { (problem.status) " " (problem.title) }
            h1 { @if problem.status == 404 { "Nothing here" } @else { "That did not work" } }
            p { (problem.detail) }
            p { a.button href="/" { "Back to the previews" } }
        }
    };
    Shell::new(&problem.title, Section::None, body).respond(problem.status())
}

/// For somebody who is not let in: the way in, and then back to where they wanted to go.
pub(crate) fn ask_to_sign_in(api: &Api, denied: &Denied, request: &Request) -> Response {
    if *denied == Denied::NotConfigured {
        return sign_in::refuse(api, denied, "/");
    }
    let wanted = match (request.method(), request.uri().path_and_query()) {
        (&Method::GET, Some(wanted)) if wanted.as_str() != "/" => {
            let next: String = url::form_urlencoded::byte_serialize(wanted.as_str().as_bytes()).collect();
            format!("?next={next}")
        }
        _ => String::new(),
    };
    see_other(&format!("/sign-in{wanted}"))
}

fn see_other(path: &str) -> Response {
    Response::builder().status(StatusCode::SEE_OTHER).header(header::LOCATION, path).finish()
}

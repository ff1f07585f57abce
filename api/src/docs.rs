//! `/api/docs`: Swagger UI from the program itself. poem-openapi ships it as one page with inline
//! code; taken apart here, it runs under the same strict policy as the other pages.

use std::sync::LazyLock;

use maud::{DOCTYPE, html};
use poem::http::header;
use poem::web::Html;
use poem::{Response, Route, get, handler};

use crate::rest;

const START: &str = "window.addEventListener('DOMContentLoaded', () => SwaggerUIBundle({ url: '/api/openapi.json', \
dom_id: '#ui', deepLinking: true, validatorUrl: null, tryItOutEnabled: false, \
requestInterceptor: (request) => { request.credentials = 'same-origin'; return request; } }));\n";

struct SwaggerUi {
    script: String,
    style: String,
}

static SWAGGER_UI: LazyLock<SwaggerUi> = LazyLock::new(|| {
    let page = rest::service().swagger_ui_html();
    let between = |start: &str, end: &str| {
        let (_, rest) = page.split_once(start)?;
        rest.split_once(end).map(|(content, _)| content.to_owned())
    };
    SwaggerUi {
        script: between("<script charset=\"UTF-8\">", "</script>").unwrap_or_default(),
        style: between("<style charset=\"UTF-8\">", "</style>").unwrap_or_default(),
    }
});

pub(crate) fn routes() -> Route {
    Route::new()
        .at("/", get(docs_page))
        .at("/swagger-ui.js", get(docs_script))
        .at("/swagger-ui.css", get(docs_style))
        .at("/start.js", get(docs_start))
}

#[handler]
fn docs_page() -> Html<String> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Seatrial API" }
                link rel="icon" href="/assets/icon.svg";
                link rel="stylesheet" href="/api/docs/swagger-ui.css";
                script src="/api/docs/swagger-ui.js" defer {}
                script src="/api/docs/start.js" defer {}
            }
            body {
                div #ui {}
                noscript { p { "This page needs JavaScript. The description itself is at " a href="/api/openapi.json" { "/api/openapi.json" } "." } }
            }
        }
    };
    Html(page.into_string())
}

#[handler]
fn docs_script() -> Response {
    answer("text/javascript; charset=utf-8", &SWAGGER_UI.script)
}

#[handler]
fn docs_style() -> Response {
    answer("text/css; charset=utf-8", &SWAGGER_UI.style)
}

#[handler]
fn docs_start() -> Response {
    answer("text/javascript; charset=utf-8", START)
}

fn answer(content_type: &'static str, content: &'static str) -> Response {
    Response::builder().header(header::CACHE_CONTROL, "no-cache").content_type(content_type).body(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swagger_ui_is_found_in_what_poem_ships() {
        assert!(SWAGGER_UI.script.contains("SwaggerUIBundle"), "the page's layout has changed");
        assert!(SWAGGER_UI.script.len() > 500_000 && SWAGGER_UI.style.len() > 50_000);
        assert!(!SWAGGER_UI.style.contains("@import"));
    }
}

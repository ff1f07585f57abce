use maud::{DOCTYPE, Markup, html};
use poem::Response;
use poem::http::StatusCode;

/// Which part of the site a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Previews,
    Runs,
    Deliveries,
    /// Outside of the site: errors, the sign-in.
    None,
}

/// A page inside the frame that all pages share.
pub(super) struct Shell {
    title: String,
    section: Section,
    body: Markup,
    live: Option<String>,
}

impl Shell {
    pub fn new(title: &str, section: Section, body: Markup) -> Self {
        Self { title: title.to_owned(), section, body, live: None }
    }

    /// Parts of the page with a `data-part` are replaced whenever an event comes from this URL;
    /// without JavaScript the whole page is loaded again now and then.
    pub fn live(mut self, events: impl Into<String>) -> Self {
        self.live = Some(events.into());
        self
    }

    pub fn respond(self, status: StatusCode) -> Response {
        let markup = self.render();
        Response::builder().status(status).content_type("text/html; charset=utf-8").body(markup.into_string())
    }

    fn render(self) -> Markup {
        let inside = self.section != Section::None;
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " · Seatrial" }
                    link rel="icon" href="/assets/icon.svg";
                    link rel="stylesheet" href="/assets/seatrial.css";
                    script src="/assets/seatrial.js" defer {}
                    @if self.live.is_some() { noscript { meta http-equiv="refresh" content="10"; } }
                }
                body data-events=[self.live.as_deref()] {
                    a.skip href="#main" { "Skip to the content" }
                    header.top {
                        a.brand href="/" { img src="/assets/icon.svg" alt="" width="22" height="22"; "Seatrial" }
                        @if inside {
                            nav aria-label="Main" {
                                (tab("/", "Previews", self.section == Section::Previews))
                                (tab("/runs", "Runs", self.section == Section::Runs))
                                (tab("/deliveries", "Deliveries", self.section == Section::Deliveries))
                            }
                            div.spring {}
                            @if self.live.is_some() { span #live-mark.live hidden title="This page keeps itself current" { "Live" } }
                            a.quiet href="/api/docs" { "API" }
                            form method="post" action="/sign-out" { button.link type="submit" { "Sign out" } }
                        }
                    }
                    main #main { (self.body) }
                }
            }
        }
    }
}

fn tab(href: &str, name: &str, here: bool) -> Markup {
    html! { a href=(href) aria-current=[here.then_some("page")] { (name) } }
}

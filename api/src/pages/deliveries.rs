use std::sync::Arc;

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use poem::web::{Data, Query};
use poem::{Response, handler};
use seatrial_operations::OperationError;
use seatrial_operations::views::{DeliveryFilter, PageRequest};
use serde::Deserialize;

use super::layout::{Section, Shell};
use super::{format, show};
use crate::config::Api;
use crate::guard::Caller;
use crate::wire::{Delivery, DeliveryPage};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Paging {
    after: Option<String>,
}

#[handler]
pub(super) async fn page(api: Data<&Arc<Api>>, caller: Data<&Caller>, paging: Query<Paging>) -> Response {
    show(render(&api, &caller, &paging).await)
}

async fn render(api: &Api, caller: &Caller, paging: &Paging) -> Result<Shell, OperationError> {
    let request = PageRequest { after: paging.after.clone(), ..PageRequest::default() };
    let list: DeliveryPage =
        api.operations.list_deliveries(&caller.0, &DeliveryFilter::default(), &request).await?.into();
    let now = api.operations.now();
    let body = html! {
        div.title { h1 { "Deliveries" } }
        @if list.items.is_empty() {
            div.card.empty { h2 { "Nothing has come yet" } p.quiet { "GitHub sends its webhooks to " code { "/api/webhooks/github" } "." } }
        } @else {
            div.card.scroll {
                table {
                    thead { tr {
                        th scope="col" { "Event" }
                        th scope="col" { "Pull request" }
                        th scope="col" { "Led to" }
                        th.right scope="col" { "Received" }
                    } }
                    tbody { @for delivery in &list.items { (row(delivery, now)) } }
                }
            }
        }
        @if let Some(next) = &list.next {
            @let query: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
            p.more { a.button href={ "/deliveries?after=" (query) } { "Older" } }
        }
    };
    Ok(Shell::new("Deliveries", Section::Deliveries, body))
}

fn row(delivery: &Delivery, now: DateTime<Utc>) -> Markup {
    html! {
        tr {
            td { span.strong { (delivery.event) @if let Some(action) = &delivery.action { "." (action) } } div.sub.mono { (delivery.id) } }
            td { (delivery.pull_request.as_deref().unwrap_or("–")) }
            td.wide {
                @match (&delivery.run, &delivery.ignored) {
                    (Some(run), _) => a href={ "/runs/" (run) } { "a run" },
                    (None, Some(reason)) => span.sub { "nothing: " (reason) },
                    (None, None) => "–",
                }
            }
            td.right.nowrap { (format::age(delivery.received_at, now)) }
        }
    }
}

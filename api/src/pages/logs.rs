//! The log viewer: a form and the last lines; with JavaScript it follows.

use std::time::Duration;

use futures::StreamExt;
use maud::{Markup, html};
use seatrial_operations::EnvironmentName;
use seatrial_operations::views::LogQuery;
use serde::Deserialize;

use crate::config::Api;
use crate::guard::Caller;
use crate::wire::{Pod, PreviewState, WhyNotReady};

/// What is to be seen, as it is in the URL. Empty fields say nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Choice {
    /// `pod/container`.
    log: String,
    previous: Option<String>,
    tail: String,
}

const TAILS: [&str; 4] = ["100", "500", "2000", "10000"];
/// The page does not wait for a slow cluster; the log can be asked for again.
const PATIENCE: Duration = Duration::from_secs(4);
const BYTES_MAX: usize = 512 * 1024;

impl Choice {
    fn tail(&self) -> &str {
        TAILS.into_iter().find(|tail| *tail == self.tail).unwrap_or(TAILS[1])
    }

    fn query(&self) -> LogQuery {
        let (pod, container) = self.log.split_once('/').unzip();
        let named = |name: Option<&str>| name.map(str::to_owned).filter(|name| !name.is_empty());
        LogQuery {
            pod: named(pod),
            container: named(container),
            previous: self.previous.is_some(),
            follow: false,
            tail: self.tail().parse().ok(),
        }
    }

    fn url(&self, preview: &str, more: &str) -> String {
        let query = self.query();
        let mut pairs = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("pod", query.pod), ("container", query.container)] {
            if let Some(value) = value {
                pairs.append_pair(name, &value);
            }
        }
        pairs.append_pair("previous", if query.previous { "true" } else { "false" });
        format!("/api/v1/previews/{preview}/logs?{}&{more}", pairs.finish())
    }
}

pub(super) async fn section(api: &Api, caller: &Caller, why: &WhyNotReady, choice: &Choice) -> Markup {
    let preview = &why.preview;
    let pods = why.pods.as_deref().unwrap_or_default();
    if pods.is_empty() || matches!(preview.state, PreviewState::Deleted | PreviewState::Refused) {
        return html! {};
    }
    let text = read(api, caller, &preview.namespace, choice).await;
    let follow = choice.url(&preview.id, &format!("follow=true&tail={}", choice.tail()));
    html! {
        section.logs #logs aria-labelledby="logs-title" data-follow=(follow) {
            div.title {
                h2 #logs-title { "Logs" }
                div.spring {}
                (form(pods, choice))
                button #follow type="button" hidden aria-pressed="false" { "Follow" }
                a.button href=(choice.url(&preview.id, "download=true")) { "Download" }
            }
            @match text {
                Ok(text) => pre.code.log #log tabindex="0" role="log" aria-label="Log lines" { (text) },
                Err(reason) => {
                    p.note.warn { (reason) }
                    pre.code.log #log tabindex="0" role="log" aria-label="Log lines" hidden {}
                },
            }
        }
    }
}

fn form(pods: &[Pod], choice: &Choice) -> Markup {
    html! {
        form.filters method="get" action="#logs" {
            label { span.visually-hidden { "Container" }
                select name="log" data-submit="" {
                    @for pod in pods {
                        @for container in &pod.containers {
                            @let value = format!("{}/{}", pod.name, container.name);
                            option value=(value) selected[value == choice.log] { (container.name) " · " (pod.name) }
                        }
                    }
                }
            }
            label { span.visually-hidden { "Lines" }
                select name="tail" data-submit="" {
                    @for tail in TAILS { option value=(tail) selected[tail == choice.tail()] { (tail) " lines" } }
                }
            }
            label.check { input type="checkbox" name="previous" value="1" checked[choice.previous.is_some()] data-submit=""; "Previous life" }
            button type="submit" { "Show" }
        }
    }
}

async fn read(api: &Api, caller: &Caller, namespace: &str, choice: &Choice) -> Result<String, String> {
    let name: EnvironmentName =
        namespace.parse().map_err(|error: seatrial_operations::OperationError| error.to_string())?;
    let reading = async {
        let mut log = Vec::new();
        let mut chunks = api.operations.get_logs(&caller.0, &name, choice.query()).await.map_err(|e| e.to_string())?;
        while let Some(chunk) = chunks.next().await {
            log.extend_from_slice(&chunk.map_err(|error| error.to_string())?);
            if log.len() > BYTES_MAX {
                log.truncate(BYTES_MAX);
                break;
            }
        }
        let text = String::from_utf8_lossy(&log).into_owned();
        Ok(if text.trim().is_empty() { "The log is empty so far.".to_owned() } else { text })
    };
    tokio::time::timeout(PATIENCE, reading)
        .await
        .unwrap_or_else(|_| Err("The cluster did not answer in time. Show the log again to ask once more.".to_owned()))
}

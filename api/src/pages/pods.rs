use maud::{Markup, html};

use crate::wire::{Container, Pod, WhyNotReady};

pub(super) fn section(why: &WhyNotReady) -> Markup {
    html! {
        @match (&why.pods, &why.pods_unknown) {
            (Some(pods), _) if !pods.is_empty() => { h2 { "Pods" } (table(pods)) },
            (None, Some(reason)) if !reason.starts_with("not asked") => {
                h2 { "Pods" }
                p.note.warn { "The pods are not known now: " (reason) }
            },
            _ => {},
        }
    }
}

/// Also part of a failure's record.
pub(super) fn table(pods: &[Pod]) -> Markup {
    html! {
        div.card.scroll {
            table {
                thead { tr {
                    th scope="col" { "Container" }
                    th scope="col" { "State" }
                    th scope="col" { "Image" }
                    th.right scope="col" { "Restarts" }
                } }
                tbody { @for pod in pods { @for container in &pod.containers { (row(pod, container)) } } }
            }
        }
    }
}

fn row(pod: &Pod, container: &Container) -> Markup {
    let tone = match (container.ready, container.state.as_str()) {
        (true, _) => "good",
        (_, state) if state.starts_with("waiting: ContainerCreating") || state.starts_with("running") => "info",
        (_, state) if state.starts_with("terminated: Completed") => "neutral",
        _ => "bad",
    };
    html! {
        tr {
            td {
                span.strong { (container.name) } @if container.init { span.quiet { " (init)" } }
                div.sub.mono { (pod.name) @if let Some(node) = &pod.node { " on " (node) } }
            }
            td {
                span class={ "badge " (tone) } { span.dot aria-hidden="true" {} (container.state) }
                @if let Some(message) = &container.message { div.sub.clip title=(message) { (message) } }
            }
            td.mono.clip { (container.image) }
            td.right { (container.restarts) }
        }
    }
}

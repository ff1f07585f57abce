use maud::{Markup, html};

use super::{format, pods};
use crate::wire::{ClusterEvent, Diagnosis, FailureSnapshot};

/// Who is to blame, why, and what to do; the evidence folded below.
pub(super) fn diagnosis(diagnosis: &Diagnosis) -> Markup {
    html! {
        div.card.pad.failure role="status" {
            p.eyebrow { "Culprit" }
            h2.mono { (diagnosis.culprit) }
            p { (diagnosis.summary) }
            @if !diagnosis.advice.is_empty() { p { strong { "What to do: " } (diagnosis.advice) } }
            @for (index, evidence) in diagnosis.evidence.iter().enumerate() {
                details id={ "evidence-" (index) } open[index == 0] { summary { (evidence.title) } pre.code { (evidence.text) } }
            }
        }
    }
}

/// What was to be seen at that moment.
pub(super) fn snapshot(snapshot: &FailureSnapshot) -> Markup {
    html! {
        h2 { "What was seen" }
        p.quiet { "Recorded at " (format::stamp(snapshot.taken_at)) ", at step " (snapshot.step) ". Kept after the preview is gone." }
        @if !snapshot.pods.is_empty() { details #seen-pods { summary { "Containers" } (pods::table(&snapshot.pods)) } }
        @if !snapshot.events.is_empty() { details #seen-events { summary { (snapshot.events.len()) " events" } (events(&snapshot.events)) } }
        @for (index, log) in snapshot.logs.iter().enumerate() {
            details id={ "seen-log-" (index) } {
                summary { "Log of " (log.container) " in " (log.pod) @if log.previous { ", the life before" } }
                pre.code { (log.text) }
            }
        }
        @if let Some(manifest) = &snapshot.manifest { details #seen-manifest { summary { "Rendered manifest" } pre.code { (manifest) } } }
    }
}

fn events(events: &[ClusterEvent]) -> Markup {
    html! {
        div.card.scroll {
            table {
                thead { tr { th scope="col" { "Event" } th scope="col" { "About" } th scope="col" { "Message" } th.right scope="col" { "Times" } } }
                tbody {
                    @for event in events {
                        tr {
                            td { span class={ "badge " (if event.kind == "Warning" { "warn" } else { "neutral" }) } { (event.reason) } }
                            td.mono { (event.object) }
                            td.wide { (event.message) @if let Some(at) = event.at { div.sub { (format::moment(at)) " UTC" } } }
                            td.right { (event.count) }
                        }
                    }
                }
            }
        }
    }
}

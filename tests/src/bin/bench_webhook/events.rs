//! What is sent: the stand-in's own events of a repository that is not set up, signed beforehand.

use anyhow::{Context, Result, ensure};
use seatrial_github_standin::{CheckView, Control, HookMode, NewCommit, NewPull, StatusView, files};
use seatrial_tests::{SECRET, Webhook, World};
use serde::Serialize;

/// As the script reads it.
#[derive(Serialize)]
pub(crate) struct Event {
    event: String,
    body: String,
    signature: String,
}

/// Its pull requests start runs that ask GitHub and end: it has no `.seatrial.yaml`.
const REPOSITORY: &str = "acme/elsewhere";
const PULLS: usize = 40;
/// One in so many starts a run: two in a hundred.
const STARTS_EVERY: usize = 50;
/// What the others are: ten by ten. CI says most of what GitHub tells.
const OTHERS: [(&str, Option<&str>); 10] = [
    ("push", None),
    ("check_run", Some("created")),
    ("check_run", Some("completed")),
    ("status", None),
    ("issue_comment", Some("created")),
    ("push", None),
    ("check_run", Some("created")),
    ("check_run", Some("completed")),
    ("status", None),
    ("pull_request", Some("edited")),
];

/// Events in the order in which they are sent, again and again.
pub(crate) async fn events(world: &World) -> Result<Vec<Event>> {
    world.hooks(HookMode::Lose).await?;
    let repository = happen(&world.control).await?;
    world.hooks(HookMode::Deliver).await?;

    let deliveries = world.control.deliveries().await?;
    let of = |event: &str, action: Option<&str>| -> Result<Vec<Webhook>> {
        let such = deliveries.iter().filter(|one| one.repository == repository && one.event == event);
        let such = such.filter(|one| action.is_none_or(|action| one.action.as_deref() == Some(action)));
        let such: Vec<_> = such.map(|one| Webhook::new(&one.guid, event, &one.payload)).collect();
        ensure!(!such.is_empty(), "the stand-in told of no {event} {action:?}");
        Ok(such)
    };
    let mut starting = of("pull_request", Some("opened"))?;
    starting.extend(of("pull_request", Some("synchronize"))?);
    let others = OTHERS.iter().map(|(event, action)| of(event, *action)).collect::<Result<Vec<_>>>()?;
    let mut order = Vec::new();
    for (round, start) in starting.iter().enumerate() {
        order.push(start);
        for place in 1..STARTS_EVERY {
            let kind = &others[place % others.len()];
            order.push(&kind[(round + place / others.len()) % kind.len()]);
        }
    }
    order.into_iter().map(event).collect()
}

fn event(webhook: &Webhook) -> Result<Event> {
    let body = String::from_utf8(webhook.body.clone()).context("JSON is UTF-8")?;
    Ok(Event { event: webhook.event.clone(), body, signature: webhook.signature(SECRET) })
}

/// Answers the repository's id.
async fn happen(control: &Control) -> Result<u64> {
    let made = control.repository(REPOSITORY, files([("README.md", "# Elsewhere\n")])).await?;
    for number in 1..=PULLS {
        let branch = format!("work-{number}");
        let new = NewPull {
            title: format!("Work on {number}"),
            head: branch.clone(),
            files: files([(format!("{branch}.txt"), "first\n")]),
            ..NewPull::default()
        };
        let pull = control.open_pull(REPOSITORY, &new).await?;
        let second = NewCommit { files: files([(format!("{branch}.txt"), "second\n")]), ..NewCommit::default() };
        let sha = control.push(REPOSITORY, pull.number, &second).await?;
        control.retitle(REPOSITORY, pull.number, &format!("Work on {number} again")).await?;
        control.comment_as(REPOSITORY, pull.number, "mona", "Looks good to me.").await?;
        let check = |status: &str, conclusion: Option<&str>| CheckView {
            sha: sha.clone(),
            name: "build".to_owned(),
            status: status.to_owned(),
            conclusion: conclusion.map(str::to_owned),
        };
        control.set_check(REPOSITORY, &check("in_progress", None)).await?;
        control.set_check(REPOSITORY, &check("completed", Some("success"))).await?;
        let status = StatusView {
            sha,
            state: "success".to_owned(),
            context: "ci/lint".to_owned(),
            description: None,
            target_url: None,
            creator: "hubot".to_owned(),
        };
        control.set_status(REPOSITORY, &status).await?;
    }
    Ok(made.id)
}

//! The one comment on the pull request: every sentence of it, and of the statuses beside it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::environment::Receipt;
use crate::failure::{Diagnosis, Evidence};
use crate::ids::{HeadSha, PullRequestRef};
use crate::ports::{CommitState, CommitStatus, DeploymentState, DeploymentStatus};
use crate::settings::Refusal;

mod markdown;
mod notice;
#[cfg(test)]
mod tests;

pub use notice::{Answer, Notice};

/// All that the comment says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommentView {
    pub at: PullRequestRef,
    /// The commit it is about.
    pub sha: Option<HeadSha>,
    /// The preview's page in the admin site.
    pub admin_url: Option<String>,
    pub updated_at: DateTime<Utc>,
    pub state: CommentState,
    pub notices: Vec<Notice>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum CommentState {
    /// Nothing was deployed; somebody asks for something all the same.
    Nothing,
    /// There is no room for it yet. `position` is 1 for the next.
    Queued {
        position: u32,
        wait: Option<Duration>,
    },
    Deploying {
        steps: Vec<StepLine>,
        /// What the running step waits for: `web 1/2`.
        progress: Option<String>,
        /// An earlier commit that still answers, and its URL.
        previous: Option<(HeadSha, String)>,
    },
    Ready {
        url: String,
        took: Duration,
        steps: Vec<StepLine>,
        /// Sentences worth knowing although all is well.
        notes: Vec<String>,
    },
    /// Scaled to zero; opening it wakes it.
    Sleeping {
        url: String,
        since: DateTime<Utc>,
    },
    Failed {
        step: String,
        diagnosis: Diagnosis,
        steps: Vec<StepLine>,
    },
    Refused {
        refusal: Refusal,
    },
    /// The base branch has no `.seatrial.yaml`.
    Unconfigured {
        docs_url: Option<String>,
    },
    Deleting {
        steps: Vec<StepLine>,
    },
    Deleted {
        receipt: Receipt,
    },
}

/// One step of the run, for the folded table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepLine {
    pub name: String,
    pub state: StepLineState,
    pub took: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepLineState {
    Pending,
    Running,
    Done,
    Failed,
    Skipped,
}

/// The hidden first line by which the comment is found again.
pub fn marker(at: &PullRequestRef) -> String {
    format!("<!-- seatrial:preview {at} -->")
}

/// Enough for a first preview, with the chart that Seatrial ships.
const EXAMPLE: &str = "```yaml\nversion: 1\nimage:\n  repository: registry.example.com/my-app # built by your CI\n  tag: \"{sha}\"\n# chart: { path: chart }  # your own Helm chart instead of the built-in one\n```";
/// What all evidence together may take of the comment's 60 000 bytes.
const EVIDENCE_BYTES: usize = 36_000;
/// GitHub's limit for the descriptions of statuses.
const DESCRIPTION_MAX: usize = 140;

/// The whole comment, at most 60 000 bytes (GitHub takes 65 536 characters). Text from outside
/// cannot mention anybody, link anywhere or leave its place.
pub fn render(view: &CommentView) -> String {
    let mut parts = vec![marker(&view.at)];
    match &view.state {
        CommentState::Nothing => parts.push("### No preview".to_owned()),
        CommentState::Queued { position, wait } => {
            parts.push("### ⏳ Preview queued".to_owned());
            parts.push(format!("{}{}", of_commit(view), in_line(*position, *wait)));
        }
        CommentState::Deploying { steps, progress, previous } => deploying(view, steps, progress, previous, &mut parts),
        CommentState::Ready { url, took, steps, notes } => {
            parts.push("### ✅ Preview ready".to_owned());
            parts.push(format!("**{}**", markdown::link(without_scheme(url), url)));
            parts.push(format!("{}Deployed in {}.", of_commit(view), words(*took)));
            parts.extend(bullets(notes));
            parts.extend(step_table(steps));
        }
        CommentState::Sleeping { url, since } => {
            parts.push("### 💤 Preview asleep".to_owned());
            parts.push(format!("**{}**", markdown::link(without_scheme(url), url)));
            parts.push(format!(
                "{}It was scaled to zero at {}. Opening it, or `/preview wake`, brings it back.",
                of_commit(view),
                time(*since)
            ));
        }
        CommentState::Failed { step, diagnosis, steps } => failed(view, step, diagnosis, steps, &mut parts),
        CommentState::Refused { refusal } => {
            let (heading, paragraphs) = refused(refusal);
            parts.push(format!("### {heading}"));
            parts.extend(paragraphs);
            if let (Refusal::Fork, Some(sha)) = (refusal, &view.sha) {
                parts.push(format!("```text\n/preview approve {sha}\n```"));
            }
        }
        CommentState::Unconfigured { docs_url } => {
            parts.push("### No preview: this repository is not set up yet".to_owned());
            parts.push(
                "The base branch has no `.seatrial.yaml`. Commit one like this, and every pull request gets a preview:"
                    .to_owned(),
            );
            parts.push(EXAMPLE.to_owned());
            if let Some(docs_url) = docs_url {
                parts.push(format!("What else it can say: {}.", markdown::link("the settings' reference", docs_url)));
            }
        }
        CommentState::Deleting { steps } => {
            parts.push("### Removing the preview".to_owned());
            parts.push(
                "The release, the namespace and all that is in it are being deleted. The receipt will follow here."
                    .to_owned(),
            );
            parts.extend(step_table(steps));
        }
        CommentState::Deleted { receipt } => deleted(receipt, &mut parts),
    }
    parts.extend(view.notices.iter().map(notice::render));
    parts.push(footer(view));
    parts.join("\n\n")
}

/// `3rd in line, about 4 min`.
fn in_line(position: u32, wait: Option<Duration>) -> String {
    let place = match (position % 10, position % 100) {
        _ if position == 1 => "Next in line".to_owned(),
        (1, tens) if tens != 11 => format!("{position}st in line"),
        (2, tens) if tens != 12 => format!("{position}nd in line"),
        (3, tens) if tens != 13 => format!("{position}rd in line"),
        _ => format!("{position}th in line"),
    };
    let wait = wait.map(|wait| format!(", about {}", about(wait))).unwrap_or_default();
    format!("All places for previews are taken. {place}{wait}; it starts by itself.")
}

fn deploying(
    view: &CommentView,
    steps: &[StepLine],
    progress: &Option<String>,
    previous: &Option<(HeadSha, String)>,
    parts: &mut Vec<String>,
) {
    parts.push("### ⏳ Deploying the preview".to_owned());
    let mut line = of_commit(view);
    if let Some((index, step)) = present(steps) {
        line.push_str(&format!("Step {} of {}: **{}**", index + 1, steps.len(), name(&step.name)));
        match progress {
            Some(progress) => line.push_str(&format!(" ({}).", bounded(progress, 200))),
            None => line.push('.'),
        }
    }
    parts.push(line.trim_end().to_owned());
    if let Some((sha, url)) = previous {
        let link = markdown::link(without_scheme(url), url);
        parts.push(format!("Until it is ready, commit `{}` stays at {link}.", sha.short()));
    }
    parts.extend(step_table(steps));
}

/// The step that runs; between two steps the one that comes next.
fn present(steps: &[StepLine]) -> Option<(usize, &StepLine)> {
    let first = |state| steps.iter().enumerate().find(move |(_, step)| step.state == state);
    first(StepLineState::Running).or_else(|| first(StepLineState::Pending))
}

fn failed(view: &CommentView, step: &str, diagnosis: &Diagnosis, steps: &[StepLine], parts: &mut Vec<String>) {
    parts.push(format!("### ❌ Preview failed at {}", name(step)));
    parts.push(format!("**Culprit:** {}", markdown::code(&markdown::clip(&diagnosis.culprit, 300))));
    parts.push(bounded(&diagnosis.summary, 800));
    if !diagnosis.advice.trim().is_empty() {
        parts.push(format!("**What to do:** {}", bounded(&diagnosis.advice, 800)));
    }
    parts.extend(evidence(&diagnosis.evidence));
    parts.extend(step_table(steps));
    let mut line = of_commit(view);
    line.push_str("A new push deploys again.");
    parts.push(line);
}

fn evidence(evidence: &[Evidence]) -> Vec<String> {
    let mut parts = Vec::new();
    let mut left = EVIDENCE_BYTES;
    for (index, piece) in evidence.iter().enumerate() {
        // What is still to come gets its share; what needs less leaves more to the others.
        let share = left / (evidence.len() - index).min(8);
        let mut max = share;
        let rendered = loop {
            let text = markdown::shorten_middle(&piece.text, max);
            let rendered = markdown::folded(&markdown::clip(&piece.title, 120), &markdown::block(&text));
            // A fence can be long, too.
            if rendered.len() <= share || max < 100 {
                break rendered;
            }
            max = max * 3 / 4;
        };
        if rendered.len() > left {
            parts.push(format!("{} more pieces of evidence had no room here.", evidence.len() - index));
            break;
        }
        left -= rendered.len();
        parts.push(rendered);
    }
    parts
}

/// The heading, and paragraphs that say what to do.
fn refused(refusal: &Refusal) -> (&'static str, Vec<String>) {
    match refusal {
        Refusal::Draft => {
            ("No preview: this is a draft", vec!["Mark the pull request as ready for review to get one.".to_owned()])
        }
        Refusal::Fork => (
            "No preview: this pull request comes from a fork",
            vec![
                "A preview runs the pull request's code inside the cluster, so a commit of a fork is deployed only when someone with write access has read it and said so.".to_owned(),
                "To approve this commit, write the comment below. A push needs an approval of its own, and secrets are never copied into a fork's preview.".to_owned(),
            ],
        ),
        Refusal::Bot => (
            "No preview: this pull request was opened by a bot",
            vec!["To deploy pull requests of bots, remove `bots: false` under `filters` in `.seatrial.yaml` on the base branch.".to_owned()],
        ),
        Refusal::MissingLabel { wanted } => (
            "No preview: a label is missing",
            vec![format!("Add {} to the pull request to get one.", choice("the label", "one of the labels", wanted))],
        ),
        Refusal::IgnoredLabel { label } => (
            "No preview: a label says so",
            vec![format!("Remove the label {} from the pull request to get one.", short_code(label))],
        ),
        Refusal::BaseBranch { base, allowed } => (
            "No preview for this base branch",
            vec![format!(
                "This pull request goes into {}. Previews are made for those that go into {}; `filters.baseBranches` in `.seatrial.yaml` has the list.",
                short_code(base),
                choice("", "one of", allowed),
            )],
        ),
        Refusal::Paths { wanted } => (
            "No preview: nothing that is previewed was changed",
            vec![format!(
                "Previews are made for pull requests that change {}; `filters.paths` in `.seatrial.yaml` has the list.",
                choice("", "one of", wanted),
            )],
        ),
        Refusal::Closed => (
            "No preview: this pull request is closed",
            vec!["Reopen it to get one.".to_owned()],
        ),
        Refusal::Unconfigured => (
            "No preview: this repository is not set up yet",
            vec!["The base branch has no `.seatrial.yaml`. Commit one that names an image or a chart, and every pull request gets a preview.".to_owned()],
        ),
    }
}

fn choice(one: &str, several: &str, names: &[String]) -> String {
    const SHOWN: usize = 20;
    let mut listed: Vec<String> = names.iter().take(SHOWN).map(|name| short_code(name)).collect();
    if names.len() > SHOWN {
        listed.push(format!("{} more", names.len() - SHOWN));
    }
    let before = if names.len() == 1 { one } else { several };
    format!("{before} {}", listed.join(", ")).trim_start().to_owned()
}

fn deleted(receipt: &Receipt, parts: &mut Vec<String>) {
    const LISTED: usize = 100;
    parts.push("### Preview removed".to_owned());
    let release =
        if receipt.release_uninstalled { "The release was uninstalled" } else { "There was no release to uninstall" };
    parts.push(format!(
        "{release}, and the namespace `{}` is gone: verified {}, {} after the teardown began.",
        receipt.namespace,
        time(receipt.verified_gone_at),
        words(Duration::from_millis(receipt.took_ms)),
    ));
    if !receipt.removed.is_empty() {
        let mut lines: Vec<String> =
            receipt.removed.iter().take(LISTED).map(|name| format!("- {}", short_code(name))).collect();
        if receipt.removed.len() > LISTED {
            lines.push(format!("- {} more", receipt.removed.len() - LISTED));
        }
        let title = match receipt.removed.len() {
            1 => "1 object was removed".to_owned(),
            many => format!("{many} objects were removed"),
        };
        parts.push(markdown::folded(&title, &lines.join("\n")));
    }
}

fn step_table(steps: &[StepLine]) -> Option<String> {
    const LISTED: usize = 40;
    if steps.is_empty() {
        return None;
    }
    let mut table = "| Step | State | Time |\n| --- | --- | ---: |".to_owned();
    for step in steps.iter().take(LISTED) {
        let took = step.took.map(words).unwrap_or_default();
        table.push_str(&format!("\n| {} | {} | {took} |", name(&step.name), state_word(step.state)));
    }
    Some(markdown::folded("Steps", &table))
}

fn state_word(state: StepLineState) -> &'static str {
    match state {
        StepLineState::Pending => "waiting",
        StepLineState::Running => "running",
        StepLineState::Done => "done",
        StepLineState::Failed => "**failed**",
        StepLineState::Skipped => "skipped",
    }
}

fn bullets(notes: &[String]) -> Option<String> {
    let lines: Vec<String> = notes.iter().take(10).map(|note| format!("- {}", bounded(note, 300))).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn footer(view: &CommentView) -> String {
    let mut line = format!("<sub>Updated {}", time(view.updated_at));
    if let Some(url) = &view.admin_url {
        line.push_str(" · ");
        line.push_str(&markdown::link("Steps, logs and events", url));
    }
    line.push_str("</sub>");
    line
}

/// `Commit abc1234. `, or nothing.
fn of_commit(view: &CommentView) -> String {
    view.sha.as_ref().map(|sha| format!("Commit `{}`. ", sha.short())).unwrap_or_default()
}

fn name(step: &str) -> String {
    bounded(step, 40)
}

fn bounded(text: &str, max: usize) -> String {
    markdown::inline(&markdown::clip(text, max))
}

fn short_code(text: &str) -> String {
    markdown::code(&markdown::clip(text, 100))
}

fn without_scheme(url: &str) -> &str {
    url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or(url)
}

fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// `850 ms`, `12 s`, `1 min 12 s`, `2 h 5 min`.
fn words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Whole minutes, or hours: an estimate has no seconds.
fn about(duration: Duration) -> String {
    match duration.as_secs().div_ceil(60) {
        minutes @ 0..90 => format!("{} min", minutes.max(1)),
        minutes => format!("{} h", (minutes + 30) / 60),
    }
}

/// The status on the commit. A pull request that gets no preview is a success: nothing is wrong
/// with its commit. `target_url` is the preview's own URL once it is ready.
pub fn commit_status(state: &CommentState) -> CommitStatus {
    let of = |state, description: String| CommitStatus {
        state,
        description: description_of(&description),
        target_url: None,
    };
    match state {
        CommentState::Nothing => of(CommitState::Success, "No preview".to_owned()),
        CommentState::Queued { .. } => of(CommitState::Pending, "Preview queued: all places are taken".to_owned()),
        CommentState::Sleeping { .. } => of(CommitState::Success, "Preview asleep: opening it wakes it".to_owned()),
        CommentState::Deploying { steps, progress, .. } => of(CommitState::Pending, deploying_words(steps, progress)),
        CommentState::Ready { url, took, .. } => CommitStatus {
            target_url: Some(url.clone()),
            ..of(CommitState::Success, format!("Preview ready in {}", words(*took)))
        },
        CommentState::Failed { step, diagnosis, .. } => {
            of(CommitState::Failure, format!("Preview failed at {step}: {}", diagnosis.summary))
        }
        CommentState::Refused { refusal } => of(CommitState::Success, refused(refusal).0.to_owned()),
        CommentState::Unconfigured { .. } => of(CommitState::Success, refused(&Refusal::Unconfigured).0.to_owned()),
        CommentState::Deleting { .. } => of(CommitState::Success, "The preview is being removed".to_owned()),
        CommentState::Deleted { .. } => of(CommitState::Success, "Preview removed".to_owned()),
    }
}

/// The status of the GitHub deployment; `None` where there is no deployment to speak of or
/// nothing has changed about it.
pub fn deployment_status(state: &CommentState, url: Option<&str>, admin_url: Option<&str>) -> Option<DeploymentStatus> {
    let (state, description) = match state {
        CommentState::Deploying { steps, progress, .. } => {
            (DeploymentState::InProgress, deploying_words(steps, progress))
        }
        CommentState::Ready { took, .. } => (DeploymentState::Success, format!("Ready in {}", words(*took))),
        CommentState::Failed { step, diagnosis, .. } => {
            (DeploymentState::Failure, format!("Failed at {step}: {}", diagnosis.summary))
        }
        CommentState::Deleted { .. } => (DeploymentState::Inactive, "Preview removed".to_owned()),
        CommentState::Nothing
        | CommentState::Queued { .. }
        | CommentState::Sleeping { .. }
        | CommentState::Refused { .. }
        | CommentState::Unconfigured { .. }
        | CommentState::Deleting { .. } => return None,
    };
    Some(DeploymentStatus {
        state,
        description: description_of(&description),
        environment_url: url.filter(|_| state == DeploymentState::Success).map(str::to_owned),
        log_url: admin_url.map(str::to_owned),
    })
}

fn deploying_words(steps: &[StepLine], progress: &Option<String>) -> String {
    match (present(steps).map(|(_, step)| step), progress) {
        (Some(step), Some(progress)) => format!("Deploying: {} ({progress})", step.name),
        (Some(step), None) => format!("Deploying: {}", step.name),
        (None, _) => "Deploying the preview".to_owned(),
    }
}

/// Plain text on one line, at most 140 characters.
fn description_of(text: &str) -> String {
    let line = markdown::clean(text).split_whitespace().collect::<Vec<_>>().join(" ");
    markdown::clip(&line, DESCRIPTION_MAX)
}

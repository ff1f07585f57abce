//! What a deployment takes, and how much of it is Seatrial's own. `cargo xtask bench deploy`
//! prepares what it needs. The report is one line on standard output; all else goes to standard
//! error.

mod figures;
mod watching;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use clap::Parser;
use futures::future::try_join_all;
use seatrial_github_standin::{HookMode, NewCommit, NewPull};
use seatrial_tests::{Change, Options, PATIENCE, Pull, Run, World, said};
use serde_json::{Value, json};

use crate::figures::{Deploy, numbers, overheads, steps};
use crate::watching::{Helm, Pods};

/// From a pull request's event to the comment that says that its preview is live.
#[derive(Parser)]
struct Arguments {
    /// So many pull requests one after another: each is opened, pushed to and closed.
    #[arg(long, default_value_t = 10)]
    repeat: usize,
    /// So many at once.
    #[arg(long, default_value_t = 50)]
    at_once: usize,
}

/// How long all of those that were opened at once may take.
const ALL: Duration = Duration::from_secs(300);
/// Between two looks at those that are not there yet; times are GitHub's, not those of the looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<Value> {
    // As in use, but for the one line that tells helm's time.
    let environment = vec![("SEATRIAL_LOG_FORMAT", "json"), ("SEATRIAL_LOG", "info,seatrial_release_helm=debug")];
    let world = World::start("bench-deploy", Options { environment, ..Options::default() }).await?;
    let pods = Pods::watch(&world.cluster);
    let bench = Bench { world, pods };
    let measured = bench.measure(arguments).await;
    let Bench { world, .. } = bench;
    match measured {
        Ok(report) => {
            world.finish().await?;
            Ok(report)
        }
        Err(error) => {
            let folder = world.keep_evidence().await;
            Err(error.context(format!("what was to be seen is in {}", folder.display())))
        }
    }
}

struct Bench {
    world: World,
    pods: Pods,
}

impl Bench {
    async fn measure(&self, arguments: &Arguments) -> Result<Value> {
        // What is asked once in the life of a program: whose the credentials are, which Helm it is.
        self.life("warm-up", Duration::ZERO).await?;
        let (mut opened, mut pushed) = (Vec::new(), Vec::new());
        let mut requests: BTreeMap<String, u64> = BTreeMap::new();
        for round in 1..=arguments.repeat {
            self.world.control.clear_requests().await?;
            // The kubelet looks once a second: what follows an answer of its own at once would always
            // meet the same moment of that second, and pushes come at any.
            let moment = Duration::from_secs(1) * u32::try_from(round - 1)? / u32::try_from(arguments.repeat)?;
            let (open, push) = self.life(&format!("alone-{round}"), moment).await?;
            eprintln!("  {round} alone: opened {:.0} ms, pushed {:.0} ms", open.total_ms, push.total_ms);
            opened.push(open);
            pushed.push(push);
            requests = self.world.control.request_counts().await?;
        }
        let (within, at_once) = self.at_once(arguments.at_once).await?;
        let succeeded = at_once.len();
        let mut all = overheads(&at_once);
        all["opened_to_live_ms"] = numbers(&at_once, |deploy| deploy.total_ms);
        all["succeeded"] = json!(succeeded);
        all["opened_within_ms"] = json!(within.as_millis());
        all["steps_ms"] = steps(&at_once);
        let mut report = overheads(&opened);
        report["opened_to_live_ms"] = numbers(&opened, |deploy| deploy.total_ms);
        report["push_to_live_ms"] = numbers(&pushed, |deploy| deploy.total_ms);
        report["push"] = overheads(&pushed);
        report["steps_ms"] = steps(&opened);
        report["push"]["steps_ms"] = steps(&pushed);
        report["github_requests"] = json!(requests);
        report[format!("at_{}", arguments.at_once)] = all;
        Ok(report)
    }

    /// A pull request is opened, pushed to when it has been live for so long, and closed, with nothing
    /// beside it.
    async fn life(&self, branch: &str, live_for: Duration) -> Result<(Deploy, Deploy)> {
        let world = &self.world;
        let (event, pull) = self.open(branch).await?;
        world.wait_ready(pull.number, &pull.sha).await?;
        let opened = self.account(event, pull.number, &pull.sha).await?;

        world.hooks(HookMode::Hold).await?;
        let commit = NewCommit { files: Change::page("pushed").into(), ..NewCommit::default() };
        let pushed = world.control.push(&world.repository, pull.number, &commit).await?;
        world.publish_image(&pushed).await?;
        tokio::time::sleep(live_for).await;
        let event = Utc::now();
        world.control.release(&[]).await?;
        world.wait_ready(pull.number, &pushed).await?;
        let pushed = self.account(event, pull.number, &pushed).await?;

        world.close(&pull).await?;
        world.wait_receipt(pull.number).await?;
        Ok((opened, pushed))
    }

    /// Opens a pull request whose commit is there, and its image; answers when.
    async fn open(&self, branch: &str) -> Result<(DateTime<Utc>, Pull)> {
        self.world.branch(branch, Change::page(branch)).await?;
        self.open_branch(branch).await
    }

    async fn open_branch(&self, branch: &str) -> Result<(DateTime<Utc>, Pull)> {
        let new = NewPull { title: format!("Add {branch}"), head: branch.to_owned(), ..NewPull::default() };
        let event = Utc::now();
        let made = self.world.control.open_pull(&self.world.repository, &new).await?;
        let pull = Pull { number: made.number, branch: made.head_branch, sha: made.head_sha, html_url: made.html_url };
        Ok((event, pull))
    }

    /// Opens many pull requests in one moment; answers how long that took, and those that went live.
    async fn at_once(&self, many: usize) -> Result<(Duration, Vec<Deploy>)> {
        let branches: Vec<String> = (1..=many).map(|number| format!("at-once-{number}")).collect();
        for branch in &branches {
            self.world.branch(branch, Change::page(branch)).await?;
        }
        let begun = Instant::now();
        let opened = try_join_all(branches.iter().map(|branch| self.open_branch(branch))).await?;
        let within = begun.elapsed();
        let live = self.wait_all(&opened).await?;
        let mut deploys = Vec::new();
        for (event, pull) in live {
            self.world.check_live(pull.number, &pull.sha).await?;
            deploys.push(self.account(*event, pull.number, &pull.sha).await?);
        }
        Ok((within, deploys))
    }

    /// Those that are live, once each of them is live or failed.
    async fn wait_all<'a>(&self, opened: &'a [(DateTime<Utc>, Pull)]) -> Result<Vec<&'a (DateTime<Utc>, Pull)>> {
        let (mut live, mut open): (Vec<_>, Vec<_>) = (Vec::new(), opened.iter().collect());
        let deadline = Instant::now() + ALL;
        while !open.is_empty() && Instant::now() < deadline {
            tokio::time::sleep(LOOK_EVERY).await;
            for one in std::mem::take(&mut open) {
                let body = self.world.comments(one.1.number).await?.pop().map(|comment| comment.body);
                match body.unwrap_or_default() {
                    body if body.contains("Preview ready") => live.push(one),
                    body if body.contains("Preview failed") => eprintln!("  #{} failed: {body}", one.1.number),
                    _ => open.push(one),
                }
            }
        }
        eprintln!("  {} of {} are live", live.len(), opened.len());
        Ok(live)
    }

    /// Whose time it was.
    async fn account(&self, event: DateTime<Utc>, number: u64, sha: &str) -> Result<Deploy> {
        let world = &self.world;
        let run = world.wait_run(number, "preview_up").await?;
        let live = self.said_at(number, sha).await?;
        let namespace = world.namespace(number);
        let helm = Helm::read(&world.folder().join("seatrial.log"), &namespace, event)?;
        let last = helm.iter().map(|helm| helm.ended_at).max().with_context(|| format!("no helm in {namespace}"))?;
        let ready = self.pods.ready(&namespace, live, PATIENCE).await?;
        let milliseconds = |from: DateTime<Utc>, to: DateTime<Utc>| {
            (to - from).num_microseconds().map_or(0.0, |micros| micros.max(0) as f64 / 1_000.0)
        };
        let total_ms = milliseconds(event, live);
        let helm_ms = helm.iter().map(|helm| helm.seconds * 1_000.0).sum::<f64>();
        // Whatever became ready while helm still ran took no time of its own.
        let pods_ms = milliseconds(last, ready);
        ensure!(total_ms > helm_ms + pods_ms, "#{number}: {total_ms} ms are less than {helm_ms} and {pods_ms}");
        Ok(Deploy { total_ms, helm_ms, pods_ms, steps: step_times(&run) })
    }

    /// When the comment said that the commit is live.
    async fn said_at(&self, number: u64, sha: &str) -> Result<DateTime<Utc>> {
        let comment = self.world.the_comment(number).await?;
        let words = said(sha);
        let edit =
            comment.history.iter().find(|edit| edit.body.contains("Preview ready") && edit.body.contains(&words));
        edit.map(|edit| edit.at).with_context(|| format!("#{number} was never said to be live at {sha}"))
    }
}

/// The steps of the story, and the time before the first one.
fn step_times(run: &Run) -> Vec<(String, f64)> {
    let milliseconds = |time: Duration| time.as_secs_f64() * 1_000.0;
    let story = run.steps.iter().filter(|step| step.scope.is_none());
    let mut times: Vec<_> = story.filter_map(|step| Some((step.name.clone(), milliseconds(step.took()?)))).collect();
    if let Some(first) = run.steps.first().and_then(|step| step.started_at) {
        let queued = (first - run.created_at).to_std().unwrap_or_default();
        times.insert(0, ("queued".to_owned(), milliseconds(queued)));
    }
    times
}

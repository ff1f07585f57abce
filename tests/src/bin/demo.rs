//! The whole story on real parts, told with its times. `cargo xtask demo` prepares what it needs.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use clap::Parser;
use seatrial_github_standin::{CommentView, Control};
use seatrial_tests::{Change, Options, PATIENCE, Pull, Run, RunState, TOKEN, World, said};

/// A pull request gets its preview, survives a kill, and goes away again.
#[derive(Parser)]
struct Arguments {
    /// End by itself; the exit code is 0 only if everything held.
    #[arg(long)]
    once: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<bool> {
    println!("\nSeatrial, on a real Kubernetes with real Helm and a stand-in for GitHub\n");
    let options = Options {
        repository: Some("acme/shop".to_owned()),
        github_port: Some(4010),
        port: Some(8080),
        gateway_port: Some(8081),
        ..Options::default()
    };
    let mut teller = Teller::default();
    let begun = Instant::now();
    let mut world = World::start("demo", options).await?;
    println!("   The stand-in for GitHub and Seatrial run after {}.", seconds(begun.elapsed()));
    show_addresses(&world);

    let told = tokio::select! {
        told = teller.tell(&mut world) => told,
        () = interrupted() => {
            println!("\nInterrupted: cleaning up.");
            world.finish().await?;
            return Ok(false);
        }
    };
    let held = match told {
        Ok(()) => teller.failed == 0,
        Err(error) => {
            teller.say(false, &format!("{error:#}"));
            false
        }
    };
    println!("\n{} checks held, {} did not. The story took {}.", teller.held, teller.failed, seconds(begun.elapsed()));
    if !arguments.once {
        println!("\nEverything stays up until Ctrl-C:");
        show_addresses(&world);
        interrupted().await;
        println!("\nCleaning up.");
    }
    if held {
        world.finish().await?;
    } else {
        println!("What was to be seen is in {}", world.keep_evidence().await.display());
    }
    Ok(held)
}

async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        // No signals to be had: only the end of the story ends it.
        std::future::pending::<()>().await;
    }
}

fn show_addresses(world: &World) {
    let seatrial = world.program.url();
    println!("   GitHub         {}", world.github_url());
    println!("   admin pages    {seatrial}/   (sign in with the token: {TOKEN})");
    println!("   API docs       {seatrial}/api/docs");
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// Tells the story and counts what held.
#[derive(Default)]
struct Teller {
    chapter: u32,
    begun: Option<Instant>,
    held: u32,
    failed: u32,
}

impl Teller {
    async fn tell(&mut self, world: &mut World) -> Result<()> {
        let first = self.open(world).await?;
        let second = self.kill(world).await?;
        self.push_twice(world, &second).await?;
        self.break_and_mend(world, &second).await?;
        self.close(world, &second).await?;
        self.chapter("The first preview was not touched by any of this");
        let untouched = world.check_live(first.number, &first.sha).await;
        self.check("it still answers at its commit", untouched)
    }

    async fn open(&mut self, world: &mut World) -> Result<Pull> {
        self.chapter("A pull request is opened");
        // The image is there, as after a build; the event is what counts from here on.
        let opened_at = Utc::now();
        let pull = world.open_pull("teal", Change::page("a new page")).await?;
        println!("   pull request   {}", pull.html_url);
        println!("   preview        {}", world.url(pull.number));
        let comment = self.follow(world, pull.number, &["Preview ready"]).await?;
        self.check(
            "one comment says that the preview is ready, and it answers",
            world.check_live(pull.number, &pull.sha).await,
        )?;
        let page = world.visit(pull.number, "/").await?;
        self.check("its URL opens a page that shows the commit", shows(&page.body, &pull.sha))?;
        let run = world.wait_run(pull.number, "preview_up").await?;
        self.tell_times(opened_at, &comment, &run);
        Ok(pull)
    }

    async fn kill(&mut self, world: &mut World) -> Result<Pull> {
        self.chapter("Seatrial is killed (SIGKILL) in the middle of a deployment, and started again");
        let pull = world.open_pull("plum", Change::values(&[("colour", "plum"), ("hangSeconds", "3")])).await?;
        println!("   pull request   {}", pull.html_url);
        let before = world.wait_step(pull.number, "preview_up", "rollout").await?;
        self.note("step rollout runs: kill -9");
        world.program.kill()?;
        world.restart().await?;
        self.note("started again");
        self.follow(world, pull.number, &["Preview ready"]).await?;
        let run = world.wait_run(pull.number, "preview_up").await?;
        let same = run.id == before.id && run.state == RunState::Succeeded;
        self.check("the same run went on", same.then_some(()).with_context(|| run.summary()))?;
        let again = before.steps.iter().filter(|step| step.finished_at.is_some());
        let again =
            again.filter(|step| run.step(&step.name).map(|now| now.attempts.len()) != Some(step.attempts.len()));
        let again: Vec<_> = again.map(|step| step.name.as_str()).collect();
        self.check(
            "what was done was not done again",
            again.is_empty().then_some(()).with_context(|| again.join(", ")),
        )?;
        self.check("one comment, one release, and it answers", world.check_live(pull.number, &pull.sha).await)?;
        Ok(pull)
    }

    async fn push_twice(&mut self, world: &mut World, pull: &Pull) -> Result<()> {
        self.chapter("Two pushes in a row");
        let older = world.push(pull, Change::values(&[("colour", "gold"), ("hangSeconds", "30")])).await?;
        world.wait_step(pull.number, "preview_up", "release").await?;
        self.note(&format!("{} is being deployed; the next push comes", &older[..7]));
        let newer = world.push(pull, Change::values(&[("colour", "navy")])).await?;
        self.follow(world, pull.number, &["Preview ready", &said(&newer)]).await?;
        let runs = world.runs(pull.number).await?;
        let superseded = runs.iter().rev().nth(1).is_some_and(|run| run.state == RunState::Cancelled);
        self.check("the first was superseded", superseded.then_some(()).context("its run was not cancelled"))?;
        self.check("the second is live, in the same comment", world.check_live(pull.number, &newer).await)
    }

    async fn break_and_mend(&mut self, world: &mut World, pull: &Pull) -> Result<()> {
        self.chapter("A push whose image does not exist");
        let broken = world.push(pull, Change::page("never built").without_image()).await?;
        let comment = self.follow(world, pull.number, &["Preview failed"]).await?;
        quote(comment.body.lines().skip(1).take_while(|line| !line.starts_with("<details>")));
        let named = comment.body.contains("container \"shop\"") && comment.body.contains(&broken);
        self.check("the container and the image are named", named.then_some(()).context(comment.body))?;

        self.chapter("It is mended");
        let mended = world.push(pull, Change::page("built at last")).await?;
        self.follow(world, pull.number, &["Preview ready", &said(&mended)]).await?;
        self.check("the mended commit is live, in the same comment", world.check_live(pull.number, &mended).await)
    }

    async fn close(&mut self, world: &mut World, pull: &Pull) -> Result<()> {
        self.chapter("The pull request is closed");
        world.close(pull).await?;
        let receipt = self.follow(world, pull.number, &["Preview removed", "is gone"]).await?;
        quote(receipt.body.lines().filter(|line| line.contains("is gone")));
        self.check(
            "namespace, release, deployment and URL are gone; the receipt is there",
            world.check_gone(pull.number).await,
        )
    }

    /// Prints how the comment grows until it has all these texts.
    async fn follow(&mut self, world: &World, number: u64, texts: &[&str]) -> Result<CommentView> {
        let mut shown = String::new();
        let waited = world.control.wait_for(PATIENCE, async |_: &Control| {
            let Some(comment) = world.comments(number).await?.pop() else { return Ok(None) };
            let headline = headline(&comment.body);
            if headline != shown {
                self.note(&format!("comment: {headline}"));
                shown = headline;
            }
            Ok(texts.iter().all(|text| comment.body.contains(text)).then_some(comment))
        });
        waited.await.with_context(|| format!("the comment never said {texts:?}"))
    }

    /// From the event to the comment, and whose time it was.
    fn tell_times(&self, opened_at: DateTime<Utc>, comment: &CommentView, run: &Run) {
        let total = (comment.updated_at - opened_at).to_std().unwrap_or_default();
        let of = |name: &str| run.step(name).and_then(|step| step.took()).unwrap_or_default();
        let (helm, pods, health) = (of("release"), of("rollout"), of("health"));
        let ours = total.saturating_sub(helm + pods + health);
        println!(
            "\n   From the event to the ready comment: {}. Helm {}, pods {}, health check {}, Seatrial itself {}.",
            seconds(total),
            seconds(helm),
            seconds(pods),
            seconds(health),
            seconds(ours),
        );
    }

    fn chapter(&mut self, title: &str) {
        self.chapter += 1;
        self.begun = Some(Instant::now());
        println!("\n{}  {title}", self.chapter);
    }

    fn note(&self, text: &str) {
        println!("   {:>7}  {text}", seconds(self.elapsed()));
    }

    /// Prints whether it held; the story cannot go on without it.
    fn check(&mut self, what: &str, outcome: Result<()>) -> Result<()> {
        match outcome {
            Ok(()) => {
                self.say(true, what);
                Ok(())
            }
            Err(error) => Err(error.context(format!("not so: {what}"))),
        }
    }

    fn say(&mut self, holds: bool, what: &str) {
        if holds {
            self.held += 1;
        } else {
            self.failed += 1;
        }
        println!("   {:>7}  {} {what}", seconds(self.elapsed()), if holds { "✓" } else { "✗" });
    }

    fn elapsed(&self) -> Duration {
        self.begun.map(|begun| begun.elapsed()).unwrap_or_default()
    }
}

fn shows(page: &str, sha: &str) -> Result<()> {
    ensure!(page.contains(sha), "the page is {page}");
    Ok(())
}

/// Lines of the comment as people see them; long ones are cut.
fn quote<'a>(lines: impl Iterator<Item = &'a str>) {
    const SHOWN: usize = 150;
    println!();
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let line = line.replace("&quot;", "\"").replace("**", "").replace('`', "");
        let shown: String = line.trim_start_matches("### ").chars().take(SHOWN).collect();
        let more = if shown.len() < line.trim_start_matches("### ").len() { "…" } else { "" };
        println!("   │ {shown}{more}");
    }
    println!();
}

/// What the comment says first: its step, or its heading.
fn headline(body: &str) -> String {
    let step = body.lines().find_map(|line| line.find("Step ").filter(|_| line.contains("**")).map(|at| &line[at..]));
    let heading = body.lines().find_map(|line| line.strip_prefix("### "));
    step.or(heading).unwrap_or_default().replace("**", "").trim_end_matches('.').to_owned()
}

//! A workflow that waits for a person.
//!
//! ```text
//! cargo run -p seatrial-store --example approval -- start "a new carpet"   # prints the run's id
//! cargo run -p seatrial-store --example approval -- work                   # stop it whenever you like
//! cargo run -p seatrial-store --example approval -- approve RUN ada
//! cargo run -p seatrial-store --example approval -- show RUN
//! ```
//!
//! The runs are in `sqlite://approval.db`, or where `DATABASE_URL` says
//! (`postgres://USER:PASSWORD@HOST/DATABASE`). Start it, let it work, kill it with `kill -9`, work
//! on: it goes on where it was.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use seatrial_engine::{
    Clock, Context, Failure, NewRun, NewSignal, Registry, RunId, SystemClock, Worker, WorkerConfig, Workflow,
};
use seatrial_preview::naming::UrlTemplate;
use seatrial_store::{Store, StoreOptions};
use tokio_util::sync::CancellationToken;

struct Purchase;

impl Workflow for Purchase {
    const NAME: &'static str = "purchase";
    const VERSION: u32 = 1;
    const STEPS: &'static [&'static str] = &["ask", "approved", "order"];
    type Input = String;
    type Output = String;

    async fn run(&self, cx: Context, item: String) -> Result<String, Failure> {
        cx.step("ask", || async {
            println!("May we buy {item}? Approve run {}", cx.run_id());
            Ok::<_, Failure>(())
        })
        .await?;
        let Some(person) = cx.wait_for::<String>("approved", Duration::from_secs(7 * 86_400)).await? else {
            return Ok("nobody approved it within a week".to_owned());
        };
        cx.step("order", || async {
            println!("{person} approved: ordering {item}");
            Ok::<_, Failure>(format!("{item} is ordered, approved by {person}"))
        })
        .await
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = Store::open(StoreOptions {
        url: std::env::var("DATABASE_URL").unwrap_or_else(|_| "sqlite://approval.db".to_owned()),
        preview_url: UrlTemplate::parse("http://pr-{number}-{repo}.localhost:8081")?,
        clock: Arc::new(SystemClock),
    })
    .await?;
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["start", item] => {
            let run = NewRun::of::<Purchase>(&item.to_owned())?;
            println!("{}", store.start(run).await?.id);
        }
        ["approve", run, person] => {
            let run: RunId = run.parse()?;
            let signal = NewSignal { name: "approved".to_owned(), payload: person.into(), deduplication: None };
            store.signal(run, signal, SystemClock.now()).await?;
        }
        ["show", run] => match store.find_run(run.parse()?).await? {
            Some(run) => {
                println!("{}: {}", run.summary.state.as_str(), run.output.unwrap_or_default());
                for step in run.steps {
                    println!("  {} {:?}, {} attempts", step.name, step.status, step.attempts.len());
                }
            }
            None => println!("there is no run {run}"),
        },
        ["work"] => {
            let registry = Registry::new().with(Purchase);
            let worker = Worker::new(WorkerConfig::new("example"), store.journal(), registry, Arc::new(SystemClock));
            println!("working; Ctrl-C stops it");
            let stop = CancellationToken::new();
            let worker = tokio::spawn(worker.run(stop.clone()));
            tokio::signal::ctrl_c().await?;
            stop.cancel();
            worker.await?;
        }
        _ => println!("say one of: start ITEM, work, approve RUN PERSON, show RUN"),
    }
    Ok(())
}

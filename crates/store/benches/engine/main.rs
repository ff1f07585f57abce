//! What the engine costs, one measurement a process: `cargo xtask bench engine` runs them all,
//! beside the peers. Prints one JSON object.

mod resume;
mod throughput;

use std::sync::Arc;

use clap::{Parser, Subcommand};
use seatrial_engine::{Context, Failure, SystemClock, Workflow};
use seatrial_preview::naming::UrlTemplate;
use seatrial_store::{Store, StoreOptions};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    measurement: Measurement,
    /// What cargo adds for benchmarks.
    #[arg(long, global = true, hide = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Measurement {
    /// Runs of five steps that do nothing, so many in flight.
    Throughput(throughput::Throughput),
    /// Statements of a process that has nothing to do.
    Idle(throughput::Idle),
    /// Finished runs in the tables.
    Fill(throughput::Fill),
    /// Executes runs whose steps take a while, and logs each step.
    Resume(resume::Resume),
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let result = match Arguments::parse().measurement {
        Measurement::Throughput(measure) => measure.run().await?,
        Measurement::Idle(measure) => measure.run().await?,
        Measurement::Fill(fill) => fill.run().await?,
        Measurement::Resume(measure) => measure.run().await?,
    };
    println!("{result}");
    Ok(())
}

async fn open(url: &str) -> Result<Store, Box<dyn std::error::Error>> {
    let preview_url = UrlTemplate::parse("http://pr-{number}-{repo}.localhost:8081")?;
    Ok(Store::open(StoreOptions { url: url.to_owned(), preview_url, clock: Arc::new(SystemClock) }).await?)
}

/// Five steps, one after the other, that do nothing.
struct NoOp;

impl Workflow for NoOp {
    const NAME: &'static str = "no_op";
    const VERSION: u32 = 1;
    const STEPS: &'static [&'static str] = &["one", "two", "three", "four", "five"];
    type Input = u64;
    /// When the function was entered, in microseconds since 1970.
    type Output = i64;

    async fn run(&self, cx: Context, _: u64) -> Result<i64, Failure> {
        let entered = cx.now().timestamp_micros();
        for step in Self::STEPS {
            cx.step(step, || async { Ok::<_, Failure>(()) }).await?;
        }
        Ok(entered)
    }
}

//! Runs of empty steps, so many at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::{Peer, Run};

const TELL_EVERY: Duration = Duration::from_secs(5);

#[derive(Serialize)]
pub struct Report {
    seconds: f64,
    /// Of runs that ended well.
    runs_per_s: f64,
    /// Runs that the library recovered by itself; part of the runs that ended well.
    interrupted: u64,
    failed: u64,
    first_failure: Option<String>,
}

#[derive(Default)]
struct Tally {
    done: u64,
    interrupted: u64,
    failed: u64,
    first_failure: Option<String>,
}

pub async fn measure<P: Peer>(peer: &Arc<P>, runs: u64, in_flight: u32) -> Result<Report> {
    let taken = Arc::new(AtomicU64::new(0));
    let ended = Arc::new(AtomicU64::new(0));
    let mut loops = JoinSet::new();
    let began = Instant::now();
    for _ in 0..in_flight {
        loops.spawn(one_loop(peer.clone(), runs, taken.clone(), ended.clone()));
    }
    let mut all = Tally::default();
    let mut progress = tokio::time::interval(TELL_EVERY);
    progress.reset();
    loop {
        tokio::select! {
            joined = loops.join_next() => match joined {
                Some(tally) => all.add(tally?),
                None => break,
            },
            _ = progress.tick() => eprintln!("{} of {runs} runs", ended.load(Ordering::Relaxed)),
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    if all.done == 0 {
        bail!("no run ended well; the first failed with: {}", all.first_failure.unwrap_or_default());
    }
    Ok(Report {
        seconds,
        runs_per_s: all.done as f64 / seconds,
        interrupted: all.interrupted,
        failed: all.failed,
        first_failure: all.first_failure,
    })
}

async fn one_loop<P: Peer>(peer: Arc<P>, runs: u64, taken: Arc<AtomicU64>, ended: Arc<AtomicU64>) -> Tally {
    let mut tally = Tally::default();
    while taken.fetch_add(1, Ordering::Relaxed) < runs {
        match peer.run().await {
            Ok(Run::Straight) => tally.done += 1,
            Ok(Run::Interrupted) => {
                tally.done += 1;
                tally.interrupted += 1;
            }
            Err(error) => {
                tally.failed += 1;
                tally.first_failure.get_or_insert_with(|| format!("{error:#}"));
            }
        }
        ended.fetch_add(1, Ordering::Relaxed);
    }
    tally
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.done += other.done;
        self.interrupted += other.interrupted;
        self.failed += other.failed;
        self.first_failure = self.first_failure.take().or(other.first_failure);
    }
}

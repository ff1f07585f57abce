//! Waiting for conditions, and what the journal says in the end.

use std::time::{Duration, Instant};

use seatrial_engine::RunId;
use seatrial_store::Store;

use crate::process;
use crate::witness::Journaled;

/// Nothing here takes longer unless it hangs.
const HANGS: Duration = Duration::from_secs(45);

/// Asks until there is an answer, or the test fails saying what hung.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + HANGS;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "hung: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub async fn start(store: &Store, runs: usize) -> Vec<RunId> {
    let mut started = Vec::new();
    for _ in 0..runs {
        started.push(store.start(process::run()).await.unwrap().id);
    }
    started
}

/// Waits until so many runs have ended.
pub async fn ended(store: &Store, runs: usize) {
    eventually(&format!("{runs} runs end"), async || {
        // A database that is away is asked again.
        let counts = store.counts().await.ok()?;
        let ended: u64 = counts.runs.iter().filter(|(state, _)| state.is_final()).map(|(_, n)| n).sum();
        (ended == runs as u64).then_some(())
    })
    .await;
}

pub async fn journal(store: &Store, runs: &[RunId]) -> Vec<Journaled> {
    let mut journal = Vec::new();
    for run in runs {
        journal.push(store.find_run(*run).await.unwrap().unwrap().into());
    }
    journal
}

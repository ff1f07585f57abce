//! Says what is being done and how long it took.

use std::time::{Duration, Instant};

use anyhow::Result;

/// Does one step: says what begins, and how long it took when it is done.
pub fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("  {what} …");
    let started = Instant::now();
    let result = work()?;
    eprintln!("  {what}: {}", seconds(started.elapsed()));
    Ok(result)
}

pub fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

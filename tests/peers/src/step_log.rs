//! One line for each execution of a step.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::ValueEnum;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogAt {
    Start,
    End,
}

pub struct StepLog {
    file: Option<File>,
    at: LogAt,
    began: Instant,
    ran: AtomicU64,
    first: OnceLock<Duration>,
    trouble: OnceLock<String>,
}

impl StepLog {
    /// For a measurement whose steps do nothing.
    pub fn none(began: Instant) -> Arc<Self> {
        Arc::new(Self::new(None, LogAt::Start, began))
    }

    pub fn append_to(path: &Path, at: LogAt, began: Instant) -> io::Result<Arc<Self>> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Arc::new(Self::new(Some(file), at, began)))
    }

    fn new(file: Option<File>, at: LogAt, began: Instant) -> Self {
        Self { file, at, began, ran: AtomicU64::new(0), first: OnceLock::new(), trouble: OnceLock::new() }
    }

    /// The body of a slow step.
    pub async fn sleep_and_tell(&self, workflow: &str, step: u32, step_ms: u64) {
        self.first.get_or_init(|| self.began.elapsed());
        if self.at == LogAt::Start {
            self.tell(workflow, step);
        }
        tokio::time::sleep(Duration::from_millis(step_ms)).await;
        if self.at == LogAt::End {
            self.tell(workflow, step);
        }
    }

    fn tell(&self, workflow: &str, step: u32) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let line = format!("{workflow} {step} {now} {}\n", std::process::id());
        self.ran.fetch_add(1, Ordering::Relaxed);
        // One write of a whole line: appended lines of several processes do not mix.
        let Some(mut file) = self.file.as_ref() else { return };
        if let Err(error) = file.write_all(line.as_bytes()) {
            // Not an error of the step: a library would record or retry it.
            self.trouble.get_or_init(|| error.to_string());
        }
    }

    /// Why a line is missing, if one is.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.get().map(String::as_str)
    }

    pub fn ran(&self) -> u64 {
        self.ran.load(Ordering::Relaxed)
    }

    /// When the first step began, from the start of the process.
    pub fn first(&self) -> Option<Duration> {
        self.first.get().copied()
    }

    pub fn since_start(&self) -> Duration {
        self.began.elapsed()
    }
}

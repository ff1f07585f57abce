use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::run::NewRun;

/// When a schedule ticks: five fields (minute, hour, day of month, month, day of week) or six
/// with seconds first, in UTC. Made by `"*/5 * * * *".parse()?`.
#[derive(Debug, Clone)]
pub struct Cron {
    text: String,
    times: Arc<croner::Cron>,
}

impl FromStr for Cron {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let times = croner::parser::CronParser::builder()
            .seconds(croner::parser::Seconds::Optional)
            .build()
            .parse(text)
            .map_err(|e| {
                Failure::permanent(format!("{text:?} is not a cron expression: {e}; write it as \"*/5 * * * *\""))
            })?;
        Ok(Self { text: text.to_owned(), times: Arc::new(times) })
    }
}

impl Cron {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first tick after `at`; `None` when there is none within the expression's reach.
    pub fn after(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.times.find_next_occurrence(&at, false).ok()
    }

    /// The ticks after `after` up to `now` that are to be run, oldest first.
    pub fn due(&self, after: DateTime<Utc>, now: DateTime<Utc>, missed: Missed) -> Vec<DateTime<Utc>> {
        let (at_most, not_before) = match missed {
            Missed::Skip => (1, after.max(now - LATE)),
            Missed::RunLatest => (1, after),
            Missed::RunAll { at_most } => (at_most as usize, after),
        };
        // Backwards from now, so that a long absence costs no more than the runs it starts.
        let mut due = Vec::new();
        let mut tick = self.times.find_previous_occurrence(&now, true).ok();
        while let Some(at) = tick.filter(|at| *at > not_before && due.len() < at_most) {
            due.push(at);
            tick = self.times.find_previous_occurrence(&at, false).ok();
        }
        due.reverse();
        due
    }
}

/// A tick that is later than this was missed.
const LATE: TimeDelta = TimeDelta::minutes(1);

/// What becomes of ticks that came while no worker ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// A tick that is more than a minute late is not run.
    Skip,
    /// One run for all that were missed.
    RunLatest,
    /// A run for each, the newest `at_most` of them.
    RunAll { at_most: u32 },
}

/// A workflow that is started by the clock: exactly one run a tick, over all workers.
///
/// A new schedule's first tick is the next one. A tick whose run has a concurrency key that is taken
/// does as the run's [`OnConflict`](crate::OnConflict) says; when that is `Reject` the tick is
/// skipped, and logged. Runs that wait for a slot or a limit are not missed ticks: give a run that may
/// take longer than its period a key.
///
/// ```
/// # use seatrial_engine::{Context, Failure, Missed, NewRun, OnConflict, Schedule, WorkerConfig, Workflow};
/// # struct Sweep;
/// # impl Workflow for Sweep {
/// #     const NAME: &'static str = "sweep";
/// #     const VERSION: u32 = 1;
/// #     const STEPS: &'static [&'static str] = &[];
/// #     type Input = ();
/// #     type Output = ();
/// #     async fn run(&self, _: Context, _: ()) -> Result<(), Failure> { Ok(()) }
/// # }
/// # fn main() -> Result<(), Failure> {
/// let mut config = WorkerConfig::new("one");
/// config.schedules.push(Schedule {
///     name: "sweep".to_owned(),
///     cron: "*/5 * * * *".parse()?,
///     missed: Missed::RunLatest,
///     run: NewRun::of::<Sweep>(&())?.key("sweep", OnConflict::Reject),
/// });
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Names it for good; the journal remembers its last tick under this name.
    pub name: String,
    pub cron: Cron,
    pub missed: Missed,
    /// What each tick starts; its deduplication id is the tick's.
    pub run: NewRun,
}

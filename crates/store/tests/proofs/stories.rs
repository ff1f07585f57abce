//! What somebody outside does with the runs. Who has got no answer, because the process stopped,
//! asks the next process again: each of the acts may be repeated.

use seatrial_engine::{Journal as _, JournalError, NewRun, NewSignal, OnConflict, RunDetail, RunId, RunState};
use uuid::Uuid;

use crate::demo::{Demo, Input, Plot};
use crate::stage::{Actor, Stage};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Story {
    Steps,
    Retries,
    Sleeps,
    /// The signal is sent when the run waits for it.
    Signalled,
    /// The signal is sent before the run begins.
    SignalledEarly,
    Child,
    Cancelled,
    Superseded,
}

const OLD: RunId = RunId(Uuid::from_u128(0x01d));
const NEW: RunId = RunId(Uuid::from_u128(0x2e3));

fn run(id: RunId, label: &str, plot: Plot) -> NewRun {
    NewRun { id, ..NewRun::of::<Demo>(&Input { label: label.to_owned(), plot }).unwrap() }
}

/// One who tells the story to a process.
pub struct Client<'a> {
    pub stage: &'a Stage,
    pub through: &'a Actor,
}

impl Client<'_> {
    /// From the beginning to the end of all its runs.
    pub async fn tells(&self, story: Story) -> Result<(), String> {
        let plot = match story {
            Story::Steps => Plot::Steps,
            Story::Retries => Plot::Retries,
            Story::Sleeps => Plot::Sleeps,
            Story::Signalled | Story::SignalledEarly => Plot::Waits,
            Story::Child => Plot::Child,
            Story::Cancelled | Story::Superseded => Plot::Held,
        };
        let mut old = run(OLD, "old", plot);
        if story == Story::Superseded {
            old = old.key("k", OnConflict::Supersede);
        }
        self.starts(old).await?;
        match story {
            Story::Steps | Story::Retries | Story::Sleeps | Story::Child => {}
            Story::SignalledEarly => self.sends("word").await?,
            Story::Signalled => {
                self.sees(OLD, "waiting", |run| run.summary.state == RunState::Waiting).await?;
                self.sends("word").await?;
            }
            Story::Cancelled => {
                self.sees_begun("old/held").await?;
                let asked = self.through.journal.cancel(OLD, "not wanted any more", self.now()).await;
                self.acknowledged(asked).await?;
            }
            Story::Superseded => {
                self.sees_begun("old/held").await?;
                self.starts(run(NEW, "new", Plot::Steps).key("k", OnConflict::Supersede)).await?;
                self.sees(NEW, "ended", |run| run.summary.state.is_final()).await?;
            }
        }
        self.sees(OLD, "ended", |run| run.summary.state.is_final()).await?;
        Ok(())
    }

    fn now(&self) -> chrono::DateTime<chrono::Utc> {
        seatrial_engine::Clock::now(&self.stage.clock)
    }

    async fn starts(&self, run: NewRun) -> Result<(), String> {
        self.through.journal.start(run).await.map(|_| ()).map_err(|e| e.to_string())
    }

    async fn sends(&self, name: &str) -> Result<(), String> {
        let payload = serde_json::json!("go");
        let signal = NewSignal { name: name.to_owned(), payload, deduplication: Some("once".to_owned()) };
        let sent = self.through.journal.signal(OLD, signal, self.now()).await;
        self.acknowledged(sent).await
    }

    /// It is too late only when it was done before.
    async fn acknowledged(&self, answer: Result<(), JournalError>) -> Result<(), String> {
        match answer {
            Err(JournalError::Illegal(_)) => self.sees(OLD, "ended", |run| run.summary.state.is_final()).await,
            other => other.map_err(|e| e.to_string()),
        }
    }

    /// Starts a run that only ends when it is superseded by the next.
    pub async fn starts_held(&self, label: &str) -> Result<(), String> {
        self.starts(run(RunId::new(), label, Plot::Held).key("k", OnConflict::Supersede)).await
    }

    pub async fn sees_begun(&self, step: &str) -> Result<(), String> {
        let begun = async || self.stage.world.has_begun(step).then_some(());
        self.stage.until(&format!("{step} to begin"), begun).await
    }

    async fn sees(&self, id: RunId, what: &str, holds: impl Fn(&RunDetail) -> bool) -> Result<(), String> {
        self.stage
            .until(&format!("run {id} to be {what}"), async || {
                let run = self.through.journal.find_run(id).await.unwrap().expect("it was started");
                (holds(&run) || run.summary.state.is_final()).then_some(())
            })
            .await
    }
}

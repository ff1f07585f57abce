use std::pin::Pin;

use futures::Stream;
use futures::stream::unfold;
use seatrial_engine::{RunEvent, RunId};
use tokio::sync::broadcast::error::RecvError;

use crate::access::Principal;
use crate::operations::Operations;

/// Which events are listened to; all conditions hold together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EventFilter {
    pub run: Option<RunId>,
    /// The concurrency key: `owner/name#number`.
    pub key: Option<String>,
}

/// What a listener hears.
#[derive(Debug, Clone, PartialEq)]
pub enum LiveEvent {
    Run(RunEvent),
    /// Events were lost because the listener was slow: look again at what is shown.
    Missed,
}

impl EventFilter {
    fn admits(&self, event: &RunEvent) -> bool {
        let (run, key) = match event {
            RunEvent::State { run, key, .. }
            | RunEvent::Step { run, key, .. }
            | RunEvent::Progress { run, key, .. } => (run, key.as_ref()),
            RunEvent::CancelRequested { run, .. } | RunEvent::Stopped { run } => (run, None),
        };
        self.run.is_none_or(|wanted| wanted == *run) && self.key.as_ref().is_none_or(|wanted| key == Some(wanted))
    }
}

impl Operations {
    /// What happens to runs from now on, in this process.
    pub fn events(
        &self,
        _: &Principal,
        filter: EventFilter,
    ) -> Pin<Box<dyn Stream<Item = LiveEvent> + Send + 'static>> {
        let events = self.store.bell().subscribe();
        Box::pin(unfold((events, filter), |(mut events, filter)| async move {
            loop {
                match events.recv().await {
                    Ok(event) if filter.admits(&event) => return Some((LiveEvent::Run(event), (events, filter))),
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => return Some((LiveEvent::Missed, (events, filter))),
                    Err(RecvError::Closed) => return None,
                }
            }
        }))
    }
}

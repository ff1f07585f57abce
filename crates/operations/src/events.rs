use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures::Stream;
use futures::stream::unfold;
use seatrial_engine::{Clock, RunEvent, RunId};
use seatrial_preview::access::Visible;
use seatrial_store::Store;
use tokio::sync::broadcast::error::RecvError;

use crate::access::Principal;
use crate::operations::Operations;

/// So long it is remembered who may hear of what.
const FRESH: TimeDelta = TimeDelta::seconds(10);

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
        let (run, key) = of(event);
        self.run.is_none_or(|wanted| wanted == run) && self.key.as_ref().is_none_or(|wanted| key == Some(wanted))
    }
}

fn of(event: &RunEvent) -> (RunId, Option<&String>) {
    match event {
        RunEvent::State { run, key, .. } | RunEvent::Step { run, key, .. } | RunEvent::Progress { run, key, .. } => {
            (*run, key.as_ref())
        }
        RunEvent::CancelRequested { run, .. } | RunEvent::Stopped { run } => (*run, None),
    }
}

/// Whether a listener may hear of runs with a key, as it was a moment ago.
struct Ears {
    store: Store,
    clock: Arc<dyn Clock>,
    visible: Visible,
    known: HashMap<String, (bool, DateTime<Utc>)>,
}

impl Ears {
    async fn hear(&mut self, event: &RunEvent) -> bool {
        if self.visible == Visible::All {
            return true;
        }
        // What belongs to no pull request is the operators'.
        let (_, Some(key)) = of(event) else { return false };
        let now = self.clock.now();
        if let Some((hears, at)) = self.known.get(key)
            && now - *at < FRESH
        {
            return *hears;
        }
        // One that cannot be asked about is not told; the journal is the record.
        let hears = self.store.sees_key(&self.visible, key).await.unwrap_or(false);
        self.known.retain(|_, (_, at)| now - *at < FRESH);
        self.known.insert(key.clone(), (hears, now));
        hears
    }
}

impl Operations {
    /// What happens to runs from now on, in this process, as far as one may see it.
    pub fn events(
        &self,
        who: &Principal,
        filter: EventFilter,
    ) -> Pin<Box<dyn Stream<Item = LiveEvent> + Send + 'static>> {
        let events = self.store.bell().subscribe();
        let ears = Ears {
            store: self.store.clone(),
            clock: self.clock.clone(),
            visible: who.visible(),
            known: HashMap::new(),
        };
        Box::pin(unfold((events, filter, ears), |(mut events, filter, mut ears)| async move {
            loop {
                match events.recv().await {
                    Ok(event) if filter.admits(&event) && ears.hear(&event).await => {
                        return Some((LiveEvent::Run(event), (events, filter, ears)));
                    }
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => return Some((LiveEvent::Missed, (events, filter, ears))),
                    Err(RecvError::Closed) => return None,
                }
            }
        }))
    }
}

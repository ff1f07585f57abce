//! The lock around the state, and what happens when it is given back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::connections::Connections;
use crate::state::State;
use crate::webhooks::Dispatcher;

/// The stand-in without its server.
#[derive(Debug)]
pub(crate) struct Core {
    state: Mutex<State>,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) connections: Connections,
    /// Counts changes, for those who wait for one.
    changes: watch::Sender<u64>,
}

impl Core {
    pub(crate) fn new(state: State, client: reqwest::Client) -> Arc<Self> {
        Arc::new_cyclic(|core| Self {
            state: Mutex::new(state),
            dispatcher: Dispatcher::new(client, core.clone()),
            connections: Connections::default(),
            changes: watch::Sender::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    /// Changes the state. Events are queued before the lock is given back, so that
    /// their order is the order of the changes.
    pub(crate) fn change<T>(&self, alter: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = alter(&mut state);
        for (repository, delivery) in state.take_due() {
            self.dispatcher.enqueue(repository, delivery);
        }
        drop(state);
        self.changes.send_modify(|count| *count += 1);
        result
    }

    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

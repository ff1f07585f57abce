//! What one process commits, the others are told by LISTEN and NOTIFY. A hint: what is lost is
//! found by the sweep, by a renewal, or by reading again.

use std::sync::Arc;
use std::time::Duration;

use seatrial_engine::{Bell, RunEvent};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::mpsc;
use tracing::warn;
use uuid::Uuid;

use crate::effects::Effects;

const CHANNEL: &str = "seatrial_runs";
/// PostgreSQL refuses a longer payload.
const LONGEST: usize = 7_900;
/// So many commits at most are told together.
const AT_ONCE: usize = 256;

#[derive(Serialize)]
struct Message<'a> {
    from: Uuid,
    ring: bool,
    events: &'a [RunEvent],
}

#[derive(Deserialize)]
struct Heard {
    from: Uuid,
    ring: bool,
    events: Vec<RunEvent>,
}

/// Tells the other processes, after the commit and beside it: no write waits for this.
#[derive(Clone)]
pub(super) struct Notifier {
    commits: mpsc::Sender<Effects>,
}

impl Notifier {
    pub(super) fn spawn(pool: PgPool, bell: Arc<Bell>) -> Self {
        let from = Uuid::now_v7();
        let (commits, queue) = mpsc::channel(AT_ONCE);
        tokio::spawn(notify(pool.clone(), queue, from));
        tokio::spawn(listen(pool, bell, from));
        Self { commits }
    }

    pub(super) fn tell(&self, effects: &Effects) {
        if effects.is_none() {
            return;
        }
        // When others cannot keep up, they are left to their sweep.
        let _ = self.commits.try_send(effects.clone());
    }
}

async fn notify(pool: PgPool, mut queue: mpsc::Receiver<Effects>, from: Uuid) {
    let mut commits = Vec::new();
    // What is committed while a notification is on its way shares the next one.
    while queue.recv_many(&mut commits, AT_ONCE).await > 0 {
        let effects = commits.drain(..).fold(Effects::none(), Effects::and);
        let payloads = payloads(&Message { from, ring: effects.ring, events: &effects.events });
        let told = sqlx::query("SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload");
        if let Err(e) = told.bind(CHANNEL).bind(payloads).execute(&pool).await {
            warn!(error = %e, "other processes could not be told; they will sweep");
        }
    }
}

/// The message in as many notifications as it needs.
fn payloads(message: &Message<'_>) -> Vec<String> {
    match serde_json::to_string(message) {
        Ok(text) if text.len() <= LONGEST => vec![text],
        Ok(_) if message.events.len() > 1 => {
            let (first, second) = message.events.split_at(message.events.len() / 2);
            [first, second].into_iter().flat_map(|events| payloads(&Message { events, ..*message })).collect()
        }
        // An event that no notification holds: it is seen by who reads again.
        _ => Vec::new(),
    }
}

async fn listen(pool: PgPool, bell: Arc<Bell>, own: Uuid) {
    loop {
        if let Err(e) = listen_once(&pool, &bell, own).await {
            if pool.is_closed() {
                return;
            }
            warn!(error = %e, "other processes cannot be heard; trying again");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

async fn listen_once(pool: &PgPool, bell: &Bell, own: Uuid) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.ignore_pool_close_event(false);
    listener.listen(CHANNEL).await?;
    // What came while nobody listened.
    bell.ring();
    loop {
        let notification = listener.recv().await?;
        let Ok(message) = serde_json::from_str::<Heard>(notification.payload()) else { continue };
        if message.from == own {
            continue;
        }
        Effects { events: message.events, ring: message.ring }.publish(bell);
    }
}

#[cfg(test)]
mod tests {
    use seatrial_engine::RunId;

    use super::*;

    #[test]
    fn a_burst_is_told_whole() {
        let events: Vec<_> = (0..500)
            .map(|number| RunEvent::Step { run: RunId::new(), key: None, step: format!("step {number}") })
            .collect();
        let payloads = payloads(&Message { from: Uuid::now_v7(), ring: true, events: &events });
        assert!(payloads.iter().all(|payload| payload.len() <= LONGEST));
        let heard: Vec<Heard> = payloads.iter().map(|payload| serde_json::from_str(payload).unwrap()).collect();
        assert!(heard.iter().all(|heard| heard.ring));
        let told: Vec<_> = heard.into_iter().flat_map(|heard| heard.events).collect();
        assert_eq!(told, events);
    }
}

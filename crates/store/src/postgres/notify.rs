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

#[derive(Serialize, Deserialize)]
struct Message {
    from: Uuid,
    ring: bool,
    events: Vec<RunEvent>,
}

/// Tells the other processes, after the commit and beside it: no write waits for this.
#[derive(Clone)]
pub(super) struct Notifier {
    messages: mpsc::Sender<Message>,
    from: Uuid,
}

impl Notifier {
    pub(super) fn spawn(pool: PgPool, bell: Arc<Bell>) -> Self {
        let from = Uuid::now_v7();
        let (messages, queue) = mpsc::channel(256);
        tokio::spawn(notify(pool.clone(), queue, from));
        tokio::spawn(listen(pool, bell, from));
        Self { messages, from }
    }

    pub(super) fn tell(&self, effects: &Effects) {
        if effects.is_none() {
            return;
        }
        // When others cannot keep up, they are left to their sweep.
        let _ = self.messages.try_send(Message { from: self.from, ring: effects.ring, events: effects.events.clone() });
    }
}

async fn notify(pool: PgPool, mut queue: mpsc::Receiver<Message>, from: Uuid) {
    let mut waiting = Vec::new();
    while queue.recv_many(&mut waiting, 256).await > 0 {
        let mut message = Message { from, ring: false, events: Vec::new() };
        for part in waiting.drain(..) {
            message.ring |= part.ring;
            message.events.extend(part.events);
        }
        let Some(payload) = payload(&mut message) else { continue };
        if let Err(e) = sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(payload).execute(&pool).await {
            warn!(error = %e, "other processes could not be told; they will sweep");
        }
    }
}

/// As many of the newest events as one notification holds.
fn payload(message: &mut Message) -> Option<String> {
    loop {
        let text = serde_json::to_string(message).ok()?;
        if text.len() <= LONGEST {
            return Some(text);
        }
        // Half of them at a time: the length of each differs.
        let keep = message.events.len() / 2;
        message.events.drain(..message.events.len() - keep);
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
        let Ok(message) = serde_json::from_str::<Message>(notification.payload()) else { continue };
        if message.from == own {
            continue;
        }
        Effects { events: message.events, ring: message.ring }.publish(bell);
    }
}

//! Sending events: signed, in order for each repository, once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use hmac::{Hmac, Mac};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use sha2::Sha256;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use crate::control::types::HookMode;
use crate::hooks::{Delivery, HOOK_ID, Outcome};
use crate::shared::Core;
use crate::state::{Outgoing, State};

/// GitHub waits this long for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The value of `X-Hub-Signature-256` for a body.
pub fn signature(secret: &str, body: &[u8]) -> String {
    // HMAC takes keys of any length, so this cannot fail.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

impl State {
    /// Makes delivery records of what is in the outbox; answers those to send now.
    pub(crate) fn take_due(&mut self) -> Vec<(u64, u64)> {
        for event in std::mem::take(&mut self.outbox) {
            self.record(event);
        }
        std::mem::take(&mut self.hooks.due)
    }

    fn record(&mut self, event: Outgoing) {
        if self.hooks.url.is_none() {
            return;
        }
        let wanted = |name: &String| name == event.event || name == "*";
        if event.event != "ping" && !self.hooks.events.iter().any(wanted) {
            return;
        }
        let body = event.payload.to_string();
        let guid = Uuid::new_v4().to_string();
        let target = self.app.id.to_string();
        let mut headers = vec![
            ("Accept", "*/*".to_owned()),
            ("Content-Type", "application/json".to_owned()),
            ("User-Agent", format!("GitHub-Hookshot/{}", &guid[..7])),
            ("X-GitHub-Delivery", guid.clone()),
            ("X-GitHub-Event", event.event.to_owned()),
            ("X-GitHub-Hook-ID", HOOK_ID.to_string()),
            ("X-GitHub-Hook-Installation-Target-ID", target),
            ("X-GitHub-Hook-Installation-Target-Type", "integration".to_owned()),
        ];
        if !self.hooks.secret.is_empty() {
            let signed = signature(&self.hooks.secret, body.as_bytes());
            headers.push(("X-Hub-Signature-256", signed));
        }
        let delivery = Delivery {
            id: self.next_id(),
            guid,
            event: event.event,
            action: event.action,
            repository: event.repository,
            installation: event.payload["installation"]["id"].as_u64(),
            redelivery: false,
            body: body.into(),
            headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            at: self.clock.now(),
            held: self.hooks.mode == HookMode::Hold,
            outcome: match self.hooks.mode {
                HookMode::Lose => Some(unreachable_host()),
                HookMode::Deliver | HookMode::Hold => None,
            },
        };
        if self.hooks.mode == HookMode::Deliver {
            self.hooks.due.push((delivery.repository, delivery.id));
        }
        self.hooks.deliveries.push(delivery);
    }
}

fn unreachable_host() -> Outcome {
    Outcome {
        duration: 0.0,
        status: "failed to connect to host".to_owned(),
        code: 502,
        headers: Vec::new(),
        body: String::new(),
    }
}

/// One queue for each repository, so that its events arrive in order.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    client: reqwest::Client,
    runtime: Handle,
    core: Weak<Core>,
    queues: Mutex<HashMap<u64, mpsc::UnboundedSender<u64>>>,
    under_way: watch::Sender<usize>,
}

impl Dispatcher {
    pub(crate) fn new(client: reqwest::Client, core: Weak<Core>) -> Self {
        Self { client, runtime: Handle::current(), core, queues: Mutex::default(), under_way: watch::Sender::new(0) }
    }

    pub(crate) fn enqueue(&self, repository: u64, delivery: u64) {
        self.under_way.send_modify(|count| *count += 1);
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queues.entry(repository).or_insert_with(|| {
            let (sender, receiver) = mpsc::unbounded_channel();
            self.runtime.spawn(work(self.client.clone(), self.core.clone(), receiver));
            sender
        });
        if queue.send(delivery).is_err() {
            // Only while everything stops.
            self.done();
        }
    }

    fn done(&self) {
        self.under_way.send_modify(|count| *count = count.saturating_sub(1));
    }

    /// Waits until every event has been delivered or has failed.
    pub(crate) async fn settled(&self) {
        let mut watcher = self.under_way.subscribe();
        // An error means that the stand-in is gone, which settles it too.
        let _ = watcher.wait_for(|count| *count == 0).await;
    }
}

async fn work(client: reqwest::Client, core: Weak<Core>, mut queue: mpsc::UnboundedReceiver<u64>) {
    while let Some(id) = queue.recv().await {
        let Some(core) = core.upgrade() else { return };
        send(&client, &core, id).await;
        core.dispatcher.done();
    }
}

async fn send(client: &reqwest::Client, core: &Arc<Core>, id: u64) {
    let request = core.read(|state| {
        let delivery = state.delivery(id).ok()?;
        Some((state.hooks.url.clone(), delivery.headers.clone(), Arc::clone(&delivery.body)))
    });
    let Some((url, headers, body)) = request else {
        return;
    };
    let outcome = match url {
        Some(url) => attempt(client, &url, &headers, &body).await,
        None => unreachable_host(),
    };
    tracing::debug!(delivery = id, status = outcome.code, "webhook delivered");
    core.change(|state| {
        let mut deliveries = state.hooks.deliveries.iter_mut();
        if let Some(delivery) = deliveries.find(|known| known.id == id) {
            delivery.outcome = Some(outcome);
        }
    });
}

async fn attempt(client: &reqwest::Client, url: &str, headers: &[(String, String)], body: &str) -> Outcome {
    let started = Instant::now();
    let fields: HeaderMap = headers
        .iter()
        .filter_map(|(name, value)| Some((name.parse::<HeaderName>().ok()?, value.parse::<HeaderValue>().ok()?)))
        .collect();
    let answer = async {
        let response = client.post(url).headers(fields).body(body.to_owned()).send().await?;
        let code = response.status().as_u16();
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                (name.as_str().to_owned(), value)
            })
            .collect();
        let body = response.text().await?;
        Ok::<_, reqwest::Error>((code, headers, body))
    };
    let result = tokio::time::timeout(PATIENCE, answer).await;
    let duration = started.elapsed().as_secs_f64();
    let outcome = |status: String, code, headers, body| Outcome {
        duration: (duration * 100.0).round() / 100.0,
        status,
        code,
        headers,
        body,
    };
    match result {
        Ok(Ok((code, headers, body))) => {
            let status =
                if (200..300).contains(&code) { "OK".to_owned() } else { format!("Invalid HTTP Response: {code}") };
            outcome(status, code, headers, body)
        }
        Ok(Err(_)) => outcome("failed to connect to host".to_owned(), 502, Vec::new(), String::new()),
        Err(_) => outcome("timed out".to_owned(), 504, Vec::new(), String::new()),
    }
}

//! Deliveries sent by the test itself, where the stand-in's own are too well-behaved.

use anyhow::Result;
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;

/// What webhooks are signed with.
pub const SECRET: &str = "a secret between GitHub and Seatrial";

/// One delivery.
#[derive(Clone, Debug)]
pub struct Webhook {
    pub delivery: String,
    pub event: String,
    pub body: Vec<u8>,
}

impl Webhook {
    pub fn new(delivery: &str, event: &str, payload: &Value) -> Self {
        Self { delivery: delivery.to_owned(), event: event.to_owned(), body: payload.to_string().into_bytes() }
    }

    /// `sha256=` and the body's signature with this secret.
    pub fn signature(&self, secret: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
        mac.update(&self.body);
        format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
    }

    /// Sends it with this signature, or with none; answers the status code.
    pub(crate) async fn send(&self, http: &reqwest::Client, url: &str, signature: Option<&str>) -> Result<u16> {
        let mut request = http
            .post(url)
            .header("content-type", "application/json")
            .header("x-github-event", &self.event)
            .header("x-github-delivery", &self.delivery)
            .body(self.body.clone());
        if let Some(signature) = signature {
            request = request.header("x-hub-signature-256", signature);
        }
        Ok(request.send().await?.status().as_u16())
    }
}

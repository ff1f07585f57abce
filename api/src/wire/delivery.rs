use chrono::{DateTime, Utc};
use poem_openapi::Object;
use schemars::JsonSchema;
use seatrial_operations::views;
use serde::Serialize;

/// A webhook delivery that was stored.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
#[oai(skip_serializing_if_is_none)]
pub struct Delivery {
    /// GitHub's id of it.
    pub id: String,
    pub event: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// `owner/name#number` of the pull request it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<String>,
    /// The run it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Why it started none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignored: Option<String>,
    /// The delivery that somebody had redelivered by this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeats: Option<String>,
    pub received_at: DateTime<Utc>,
}

/// A delivery with what it brought.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
pub struct DeliveryDetail {
    pub delivery: Delivery,
    /// The body as it came: JSON, in text.
    pub payload: String,
}

/// A page of deliveries, the newest first.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
#[oai(skip_serializing_if_is_none)]
pub struct DeliveryPage {
    pub items: Vec<Delivery>,
    /// Give it as `after` to get the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The answer to a delivery; the same each time the same one comes.
#[derive(Debug, Clone, Object, Serialize, JsonSchema)]
#[oai(skip_serializing_if_is_none)]
pub struct WebhookReceipt {
    pub delivery: String,
    /// The run it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// It had been stored before.
    pub duplicate: bool,
    /// Why it started none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignored: Option<String>,
}

impl From<views::DeliveryView> for Delivery {
    fn from(delivery: views::DeliveryView) -> Self {
        Self {
            id: delivery.id.0,
            event: delivery.event,
            action: delivery.action,
            pull_request: delivery.at.map(|at| at.to_string()),
            run: delivery.run.map(|run| run.to_string()),
            ignored: delivery.ignored,
            repeats: delivery.repeats.map(|id| id.0),
            received_at: delivery.received_at,
        }
    }
}

impl From<views::Page<views::DeliveryView>> for DeliveryPage {
    fn from(page: views::Page<views::DeliveryView>) -> Self {
        Self { items: page.items.into_iter().map(Delivery::from).collect(), next: page.next }
    }
}

impl From<seatrial_operations::Receipt> for WebhookReceipt {
    fn from(receipt: seatrial_operations::Receipt) -> Self {
        Self {
            delivery: receipt.delivery,
            run: receipt.run.map(|run| run.to_string()),
            duplicate: receipt.duplicate,
            ignored: receipt.ignored,
        }
    }
}

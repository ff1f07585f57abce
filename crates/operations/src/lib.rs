//! The one door: what one can do, and who may. REST, MCP, the pages and the webhook all come
//! through here; each of them only translates.
//!
//! No HTTP and no SQL: [`seatrial_store`] answers the questions, the ports act on the world, and
//! long work is a run of a workflow. Every operation takes the [`Principal`] that asks.

mod access;
mod audit;
mod clusters;
mod commands;
mod deliveries;
mod error;
mod events;
mod gateway;
mod life;
mod logs;
mod name;
mod operations;
mod previews;
mod projects;
mod readiness;
mod runs;
mod teams;
mod tokens;
mod vault;
mod webhooks;
mod why_not_ready;
mod writes;

pub use access::{Access, AccessConfig, Denied, Invitation, Principal, SESSION_LIFETIME, SetupDone, Via};
pub use clusters::ClusterReport;
pub use error::{FieldError, OperationError};
pub use events::{EventFilter, LiveEvent};
pub use gateway::GatewayRoute;
pub use name::EnvironmentName;
pub use operations::{Operations, Parts};
pub use previews::Requested;
pub use projects::ProjectChange;
pub use readiness::{Check, Readiness};
pub use runs::RunReport;
pub use tokens::NewToken;
pub use vault::{Keyring, Vault};
pub use webhooks::{Delivery, Receipt, WebhookDecoder};
pub use why_not_ready::{PodsAnswer, SnapshotSummary, WhyNotReady};

/// What operations answer with, for those who show it.
pub mod views {
    pub use seatrial_engine::{Failure, FailureKind, RunEvent, RunId, RunState};
    pub use seatrial_preview::access::{
        Account, Member, Person, PersonId, Project, Role, Scope, SecretInfo, SecretName, Team, TeamName, Token, TokenId,
    };
    pub use seatrial_preview::environment::{Environment, EnvironmentState, Receipt, ServiceTarget};
    pub use seatrial_preview::failure::{
        ClusterEvent, ContainerLog, ContainerStatus, Diagnosis, Evidence, FailureSnapshot, PodStatus, Reason,
    };
    pub use seatrial_preview::ports::{ByteStream, LogQuery};
    pub use seatrial_preview::{DeliveryId, EnvironmentId, Namespace, PullRequestRef, RepositoryName};
    pub use seatrial_store::access::{Begun, KeptAnswer, NewProject};
    pub use seatrial_store::views::*;
}

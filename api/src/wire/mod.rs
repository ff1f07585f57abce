//! What goes over the wire, each type once: REST, MCP and the pages show the same.
//!
//! Absent is absent: what is not known is left out, never `null`. Text from outside (titles,
//! branches, log lines) is verbatim; whoever shows it escapes it.

mod access;
mod audit;
mod cluster;
mod delivery;
mod event;
mod failure;
mod preview;
mod problem;
mod readiness;
mod run;
mod why;

pub use access::{
    Me, Member, MemberList, NewToken, Operator, OperatorList, Project, ProjectPage, Role, Scope, Secret, SecretList,
    Team, TeamPage, Token, TokenPage,
};
pub use audit::AuditPage;
pub use cluster::{Cluster, ClusterList};
pub use delivery::{Delivery, DeliveryDetail, DeliveryPage, WebhookReceipt};
pub use event::{Event, LogEvent};
pub use failure::{ClusterEvent, Container, Diagnosis, FailureSnapshot, Pod};
pub use preview::{Preview, PreviewPage, PreviewState, Requested, TeardownReceipt};
pub use problem::Problem;
pub use readiness::ReadinessReport;
pub use run::{Attempt, AttemptOutcome, Run, RunDetail, RunPage, RunState, Step, StepState};
pub use why::WhyNotReady;

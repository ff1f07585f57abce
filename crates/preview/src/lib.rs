//! The domain: what a pull request's preview is, what it may do, and what is said about it.
//!
//! Nothing here knows Kubernetes' client, GitHub's client, Helm, SQL or HTTP. The [`ports`] say
//! what the domain needs of them; the adapters (`cluster-kube`, `forge-github`, `release-helm`,
//! `store`) fulfil them.

pub mod access;
pub mod command;
pub mod comment;
pub mod environment;
pub mod error;
pub mod event;
pub mod failure;
pub mod ids;
pub mod life;
pub mod mask;
pub mod naming;
pub mod policies;
pub mod ports;
pub mod pull_request;
pub mod release;
pub mod settings;

pub use error::{Error, ErrorKind, Result};
pub use ids::{CommentId, DeliveryId, DeploymentId, EnvironmentId, HeadSha, Namespace, PullRequestRef, RepositoryName};

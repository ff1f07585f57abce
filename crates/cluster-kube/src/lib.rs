//! [`seatrial_preview::ports::Cluster`] by kube: all that Seatrial does to a Kubernetes cluster.
//!
//! It needs no more rights than `charts/seatrial` gives: namespaces and the binding of two roles in
//! the whole cluster, everything else only in the namespaces it made. Nothing here lists or watches
//! namespaced things across namespaces.

mod accounts;
mod blame;
mod cluster;
mod config;
mod contents;
mod diagnosis;
mod errors;
mod forward;
mod logs;
mod namespaces;
mod permissions;
mod pods;
mod policies;
mod quantity;
mod rollout;
mod scene;
mod secrets;
mod sleep;
mod snapshot;
mod standing;
mod targets;
mod teardown;
mod verdict;
mod volumes;
mod workloads;

pub use cluster::KubeCluster;
pub use config::ClusterConfig;

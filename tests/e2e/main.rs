//! The whole program, as the people on a pull request see it: a real Kubernetes, real Helm, and
//! the stand-in for GitHub. `cargo xtask test --ring cluster` prepares what they need.

mod admission;
mod closing;
mod commands;
mod failures;
mod gateway;
mod github_trouble;
mod interruptions;
mod life;
mod opening;
mod operators;
mod outages;
mod project_secrets;
mod pushes;
mod reconciliation;
mod sources;
mod waits;
mod webhooks;

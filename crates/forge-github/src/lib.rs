//! GitHub, as the domain's [`Forge`](seatrial_preview::ports::Forge): the REST API by octocrab,
//! and the webhooks GitHub sends.
//!
//! Nothing here retries: the engine repeats steps, durably. What an error says about waiting is
//! read from GitHub's own headers. While GitHub's limit is used up, or GitHub is away, it is not
//! even asked: see `limits.rs` and `breaker.rs`.

mod access;
mod breaker;
mod checks;
mod client;
mod failure;
mod forge;
mod limits;
mod pull_request;
mod redirect;
mod sign_in;
pub mod webhook;

/// Our commit status; webhooks about it say nothing new.
const STATUS_CONTEXT: &str = "seatrial/preview";

pub use access::Auth;
pub use forge::{GithubConfig, GithubForge};
pub use limits::RateLimit;
pub use sign_in::{GithubSignIn, SignInConfig};

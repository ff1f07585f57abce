//! Who may come in, and what they may do.
//!
//! A [`Principal`] comes from a token, a session, a pull request's comment or the machine itself.
//! What it sees goes into the queries as [`Visible`](seatrial_preview::access::Visible); what it may
//! do is checked in each operation that changes something.

mod doors;
mod github;
mod principal;
mod secret;
mod setup;

pub use doors::{Access, AccessConfig, Denied, SESSION_LIFETIME};
pub use github::Invitation;
pub use principal::{Principal, Via};
pub use setup::SetupDone;

pub(crate) use doors::TOKEN_PREFIX;
pub(crate) use secret::{hash, new_secret};

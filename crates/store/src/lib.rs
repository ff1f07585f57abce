//! Where runs and environments live: the engine's [`seatrial_engine::Journal`], the domain's
//! [`seatrial_preview::ports::Environments`], and the queries of the pages and the API.
//!
//! SQLite, embedded: one file, WAL, `synchronous=FULL`. One connection writes; writes that wait
//! at the same time share one commit. Readers never wait for it.

mod error;
mod sqlite;
pub mod views;

pub use error::StoreError;
pub use sqlite::{Accepted, NewDelivery, Store, StoreOptions};

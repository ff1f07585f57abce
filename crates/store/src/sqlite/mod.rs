//! The store on SQLite.

mod claim;
mod deliveries;
mod environments;
mod journal;
mod open;
mod record;
mod rows;
mod runs;
mod start;
mod writer;

pub use deliveries::{Accepted, NewDelivery};
pub use open::{Store, StoreOptions};

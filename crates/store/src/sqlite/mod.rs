//! The store on SQLite.

/// A condition on a column: one of a bound list, see [`db::texts`] and [`db::numbers`].
macro_rules! one_of {
    ($parameter:literal) => {
        concat!("IN (SELECT value FROM json_each(", $parameter, "))")
    };
}

mod batch;
pub(crate) mod db;
mod many;
mod open;
mod writer;

// The same text for both databases, see `queries/README.md`.
#[path = "../queries/audit.rs"]
mod audit;
#[path = "../queries/claim.rs"]
mod claim;
#[path = "../queries/control.rs"]
mod control;
#[path = "../queries/deliveries.rs"]
mod deliveries;
#[path = "../queries/environments.rs"]
mod environments;
#[path = "../queries/idempotency.rs"]
mod idempotency;
#[path = "../queries/journal.rs"]
mod journal;
#[path = "../queries/places.rs"]
mod places;
#[path = "../queries/projects.rs"]
mod projects;
#[path = "../queries/record.rs"]
mod record;
#[path = "../queries/retention.rs"]
mod retention;
#[path = "../queries/rows.rs"]
mod rows;
#[path = "../queries/runs.rs"]
mod runs;
#[path = "../queries/schedules.rs"]
mod schedules;
#[path = "../queries/secrets.rs"]
mod secrets;
#[path = "../queries/signals.rs"]
mod signals;
#[path = "../queries/start.rs"]
mod start;
#[path = "../queries/teams.rs"]
mod teams;
#[path = "../queries/tokens.rs"]
mod tokens;
#[path = "../queries/visible.rs"]
mod visible;

pub(crate) use open::Db;

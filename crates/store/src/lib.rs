//! Where runs and environments live: the engine's [`seatrial_engine::Journal`], the domain's
//! [`seatrial_preview::ports::Environments`], and the queries of the pages and the API.
//!
//! On SQLite (embedded: one file, WAL, `synchronous=FULL`; one connection writes, and writes that
//! wait at the same time share one commit) or on PostgreSQL (several machines), as the URL says.
//! The queries are the same text for both, see `src/queries/README.md`.

#![expect(clippy::duplicate_mod, reason = "the files of queries/ are compiled for each database")]

pub mod access;
mod database;
mod effects;
mod entries;
mod error;
mod plain_start;
mod postgres;
mod sqlite;
pub mod views;

pub use database::{
    Accepted, Database, DeliveryQueries, EnvironmentQueries, Meaning, NewDelivery, RunQueries, Store, StoreOptions,
};
pub use error::StoreError;

//! Container registries, as the domain's [`Images`](seatrial_preview::ports::Images), over the OCI
//! distribution API; and the guarded HTTP client underneath, which charts are fetched with too.
//!
//! Names of registries come from repositories, so whoever may write a `.seatrial.yaml` could make
//! Seatrial ask any address. [`Reach`] says which may be asked; by default none that is private.
//! The rule is applied where a name is resolved, to every redirect as well, which is why this is a
//! client of its own: the crate `oci-client` resolves, follows and reads without bounds.

mod address;
mod challenge;
mod credentials;
mod images;
mod outbound;
mod reach;
mod registries;
mod repository;

#[cfg(test)]
mod standin;

pub use credentials::Credentials;
pub use outbound::{Answer, Limits, Outbound, is_refusal};
pub use reach::{Reach, Role};
pub use registries::{Manifest, Registries, digest_of};
pub use repository::Repository;

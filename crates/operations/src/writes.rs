//! Writes that may be sent again: see `Idempotency-Key` of the API.

use seatrial_store::access::{Begun, Hash, KeptAnswer};

use crate::access::Principal;
use crate::error::OperationError;
use crate::operations::Operations;

impl Operations {
    /// Takes a caller's key for a write with this fingerprint, or says what became of the first.
    pub async fn begin_write(&self, who: &Principal, key: &str, fingerprint: &Hash) -> Result<Begun, OperationError> {
        Ok(self.store.begin_write(who.id(), key, fingerprint).await?)
    }

    pub async fn finish_write(&self, who: &Principal, key: &str, answer: &KeptAnswer) -> Result<(), OperationError> {
        Ok(self.store.finish_write(who.id(), key, answer).await?)
    }

    pub async fn abandon_write(&self, who: &Principal, key: &str) -> Result<(), OperationError> {
        Ok(self.store.abandon_write(who.id(), key).await?)
    }
}

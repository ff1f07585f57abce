//! What containers and charts say may hold the project's secrets: they are taken out before it is
//! recorded or shown.

use std::future::Future;

use seatrial_engine::Failure;
use seatrial_preview::mask::Mask;
use seatrial_preview::{RepositoryName, Result as PortResult};

use crate::World;
use crate::failures::failure;

impl World {
    pub(crate) async fn mask(&self, repository: &RepositoryName) -> PortResult<Mask> {
        Ok(Mask::new(&self.secrets.load(repository).await?.unwrap_or_default()))
    }

    /// Does a step's work; should it fail, its sentence and evidence are masked.
    pub(crate) async fn masked<T>(
        &self,
        repository: &RepositoryName,
        doing: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        match doing.await {
            Err(failed) if !failed.is_cancelled() => {
                // What cannot be masked is not told.
                let mask = self.mask(repository).await.map_err(failure)?;
                Err(Failure {
                    message: mask.text(&failed.message),
                    details: failed.details.map(|details| mask.json(details)),
                    ..failed
                })
            }
            other => other,
        }
    }
}

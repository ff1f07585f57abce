//! The port.

use async_trait::async_trait;
use seatrial_preview::ports::Images;
use seatrial_preview::{Error, ErrorKind, Result};

use crate::registries::Registries;
use crate::repository::Repository;

#[async_trait]
impl Images for Registries {
    async fn find_digest(&self, repository: &str, tag: &str) -> Result<Option<String>> {
        let repository = Repository::parse(repository)?;
        Registries::find_digest(self, &repository, tag).await.map_err(|error| match error.kind {
            ErrorKind::Forbidden if error.message.ends_with("make it public") => Error {
                message: format!("{}, or use waitFor with your build's check in place of image.wait", error.message),
                ..error
            },
            _ => error,
        })
    }
}

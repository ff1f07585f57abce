//! The port.

use async_trait::async_trait;
use seatrial_preview::ports::Images;
use seatrial_preview::{Error, Result};

use crate::outbound::is_refusal;
use crate::registries::Registries;
use crate::repository::Repository;

#[async_trait]
impl Images for Registries {
    async fn find_digest(&self, repository: &str, tag: &str) -> Result<Option<String>> {
        let repository = Repository::parse(repository)?;
        Registries::find_digest(self, &repository, tag).await.map_err(|error| {
            if !is_refusal(&error) {
                return error;
            }
            let instead = "or use waitFor with your build's check in place of image.wait";
            Error { message: format!("{error}, {instead}"), ..error }
        })
    }
}

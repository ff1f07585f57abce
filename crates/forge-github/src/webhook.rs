//! Webhooks: whether GitHub sent one, and what it means.

use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

mod comment;
mod meaning;

pub use meaning::parse;

/// Why a delivery is not taken for GitHub's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("no webhook secret is set, so no delivery can be verified; set SEATRIAL_GITHUB_WEBHOOK_SECRET")]
    NoSecret,
    #[error("the header X-Hub-Signature-256 is missing; set a secret on the webhook's page on GitHub")]
    Missing,
    #[error("the header X-Hub-Signature-256 is not sha256= and 64 hexadecimal digits")]
    Malformed,
    #[error("the signature does not fit the body; check that GitHub and Seatrial have the same webhook secret")]
    Wrong,
}

/// Compares the signature with the raw body, in constant time, before anything is parsed.
/// Only `sha256=` counts: the older `sha1=` is [`SignatureError::Malformed`].
pub fn verify(
    secret: &SecretString,
    raw: &[u8],
    signature_header: Option<&str>,
) -> std::result::Result<(), SignatureError> {
    if secret.expose_secret().is_empty() {
        return Err(SignatureError::NoSecret);
    }
    let header = signature_header.ok_or(SignatureError::Missing)?;
    let digits = header.strip_prefix("sha256=").ok_or(SignatureError::Malformed)?;
    let mut signature = [0; 32];
    hex::decode_to_slice(digits, &mut signature).map_err(|_| SignatureError::Malformed)?;
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).map_err(|_| SignatureError::NoSecret)?;
    mac.update(raw);
    mac.verify_slice(&signature).map_err(|_| SignatureError::Wrong)
}

//! Values that only their owner has: 256 random bits, of which the hash is kept.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use seatrial_store::access::Hash;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};

/// 256 bits of the operating system's randomness, as text that goes into headers, cookies and URLs.
///
/// # Errors
/// When the operating system has no randomness to give.
pub(crate) fn new_secret(prefix: &str) -> Result<SecretString, rand::rand_core::OsError> {
    let mut bytes = [0; 32];
    OsRng.try_fill_bytes(&mut bytes)?;
    Ok(SecretString::from(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes))))
}

/// A fast hash is enough: what is hashed cannot be guessed.
pub(crate) fn hash(secret: &str) -> Hash {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn secrets_are_long_and_different() {
        let (one, other) = (new_secret("x_").unwrap(), new_secret("x_").unwrap());
        assert_eq!(one.expose_secret().len(), 2 + 43);
        assert_ne!(one.expose_secret(), other.expose_secret());
        assert_ne!(hash(one.expose_secret()), hash(other.expose_secret()));
    }
}

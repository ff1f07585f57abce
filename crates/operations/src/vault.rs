//! Secrets of projects at rest: AES-256-GCM, a fresh nonce each, the row's id as associated data.
//!
//! `SEATRIAL_ENCRYPTION_KEY` holds one key, or several with commas between: the first one seals,
//! all of them open. Rotation is: put the new key first, start, and take the old one away once
//! [`Vault::open`] has sealed everything anew.

use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use seatrial_preview::access::{SecretName, Visible};
use seatrial_preview::ports::{ProjectSecret, ProjectSecrets};
use seatrial_preview::{Error, RepositoryName, Result as PortResult};
use seatrial_store::Store;
use seatrial_store::access::SealedSecret;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// The keys, the one that seals first.
pub struct Keyring(Vec<Key>);

struct Key {
    /// What rows say they are sealed with: the beginning of the key's SHA-256.
    id: String,
    key: RandomizedNonceKey,
}

impl Keyring {
    /// Reads `SEATRIAL_ENCRYPTION_KEY`.
    ///
    /// # Errors
    /// What is wrong with which key, without showing it.
    pub fn parse(text: &SecretString) -> Result<Self, String> {
        let parts = text.expose_secret().split(',').map(str::trim).filter(|part| !part.is_empty());
        let keys = parts.enumerate().map(|(number, part)| {
            let trimmed = part.trim_end_matches('=');
            let bytes = STANDARD.decode(part).or_else(|_| URL_SAFE_NO_PAD.decode(trimmed));
            let bytes = bytes.ok().filter(|bytes| bytes.len() == 32).ok_or_else(|| {
                format!("key {} is not 32 bytes in base64: make one with `openssl rand -base64 32`", number + 1)
            })?;
            let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes)
                .map_err(|_| format!("key {} cannot be used for AES-256-GCM", number + 1))?;
            Ok(Key { id: hex::encode(&Sha256::digest(&bytes)[..4]), key })
        });
        let keys = keys.collect::<Result<Vec<_>, String>>()?;
        if keys.is_empty() { Err("there is no key in it".to_owned()) } else { Ok(Self(keys)) }
    }

    fn seal(&self, name: &SecretName, value: &SecretString, by: &str) -> Result<SealedSecret, String> {
        let id = Uuid::now_v7();
        self.seal_as(id, name, value.expose_secret().as_bytes(), by)
    }

    fn seal_as(&self, id: Uuid, name: &SecretName, value: &[u8], by: &str) -> Result<SealedSecret, String> {
        let key = self.0.first().ok_or("there is no key")?;
        let mut ciphertext = value.to_vec();
        let nonce = key
            .key
            .seal_in_place_append_tag(Aad::from(id.as_bytes()), &mut ciphertext)
            .map_err(|_| "the secret cannot be encrypted".to_owned())?;
        Ok(SealedSecret {
            id,
            name: name.clone(),
            key_id: key.id.clone(),
            nonce: nonce.as_ref().to_vec(),
            ciphertext,
            updated_by: by.to_owned(),
        })
    }

    fn open(&self, sealed: &SealedSecret) -> Result<SecretString, String> {
        let name = &sealed.name;
        let key = self.0.iter().find(|key| key.id == sealed.key_id).ok_or_else(|| {
            format!(
                "the secret {name} is sealed with the key {}, which is not in SEATRIAL_ENCRYPTION_KEY",
                sealed.key_id
            )
        })?;
        let damaged = || format!("the secret {name} cannot be decrypted: its row was changed");
        let nonce = <[u8; 12]>::try_from(&sealed.nonce[..]).map_err(|_| damaged())?;
        let mut content = sealed.ciphertext.clone();
        let opened = key
            .key
            .open_in_place(Nonce::from(&nonce), Aad::from(sealed.id.as_bytes()), &mut content)
            .map_err(|_| damaged())?;
        String::from_utf8(opened.to_vec()).map(SecretString::from).map_err(|_| damaged())
    }
}

/// The secrets of all projects.
#[derive(Clone)]
pub struct Vault {
    store: Store,
    keys: Option<Arc<Keyring>>,
}

impl Vault {
    /// Checks that every stored secret can be opened, and seals those of old keys with the first.
    /// Without keys nothing can be stored.
    ///
    /// # Errors
    /// Which key is missing, or that the database cannot be asked.
    pub async fn open(store: Store, keys: Option<Keyring>) -> Result<Self, String> {
        let vault = Self { store, keys: keys.map(Arc::new) };
        let used = vault.store.list_key_ids().await.map_err(|error| error.to_string())?;
        let Some(keys) = &vault.keys else {
            return match used.is_empty() {
                true => Ok(vault),
                false => Err(format!(
                    "the database holds secrets that are sealed with the key {}: set SEATRIAL_ENCRYPTION_KEY to it",
                    used.join(" and the key ")
                )),
            };
        };
        if let Some(missing) = used.iter().find(|id| keys.0.iter().all(|key| key.id != **id)) {
            let given: Vec<_> = keys.0.iter().map(|key| key.id.as_str()).collect();
            return Err(format!(
                "SEATRIAL_ENCRYPTION_KEY holds {}, and the database has secrets that are sealed with the key {missing}: add that one behind a comma",
                given.join(" and ")
            ));
        }
        vault.reseal(keys).await?;
        Ok(vault)
    }

    async fn reseal(&self, keys: &Keyring) -> Result<(), String> {
        let newest = keys.0.first().map(|key| key.id.clone()).unwrap_or_default();
        let mut resealed = 0_u64;
        loop {
            let old = self.store.list_sealed_otherwise(&newest).await.map_err(|error| error.to_string())?;
            if old.is_empty() {
                break;
            }
            for sealed in &old {
                let value = keys.open(sealed)?;
                let new =
                    keys.seal_as(sealed.id, &sealed.name, value.expose_secret().as_bytes(), &sealed.updated_by)?;
                self.store.reseal_secret(sealed, &new).await.map_err(|error| error.to_string())?;
                resealed += 1;
            }
        }
        if resealed > 0 {
            tracing::info!(
                resealed,
                key = newest,
                "secrets are sealed with the new key; the old ones can be taken away"
            );
        }
        Ok(())
    }

    /// Whether secrets can be stored.
    pub fn has_key(&self) -> bool {
        self.keys.is_some()
    }

    /// A secret, ready to be stored.
    ///
    /// # Errors
    /// When there is no key, or the cipher refuses.
    pub(crate) fn seal(&self, name: &SecretName, value: &SecretString, by: &str) -> Result<SealedSecret, String> {
        self.keys.as_ref().ok_or("there is no key")?.seal(name, value, by)
    }

    async fn read(&self, repository: &RepositoryName) -> Result<Vec<ProjectSecret>, Error> {
        let sealed = self.store.load_secrets(repository).await?;
        let open = |sealed: &SealedSecret| {
            let keys = self.keys.as_ref().ok_or_else(|| {
                Error::invalid("SEATRIAL_ENCRYPTION_KEY is not set, so the project's secrets cannot be read")
            })?;
            Ok(ProjectSecret { name: sealed.name.clone(), value: keys.open(sealed).map_err(Error::invalid)? })
        };
        sealed.iter().map(open).collect()
    }
}

#[async_trait]
impl ProjectSecrets for Vault {
    async fn load(&self, repository: &RepositoryName) -> PortResult<Option<Vec<ProjectSecret>>> {
        match self.store.find_project(&Visible::All, repository).await? {
            Some(_) => Ok(Some(self.read(repository).await?)),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> String {
        STANDARD.encode([byte; 32])
    }

    fn ring(text: &str) -> Keyring {
        Keyring::parse(&SecretString::from(text)).unwrap()
    }

    fn name() -> SecretName {
        "DATABASE_URL".parse().unwrap()
    }

    #[test]
    fn what_is_sealed_is_opened_by_the_same_key_and_no_other() {
        let value = SecretString::from("postgres://hunter2");
        let sealed = ring(&key(1)).seal(&name(), &value, "ada").unwrap();
        assert!(!String::from_utf8_lossy(&sealed.ciphertext).contains("hunter2"));
        assert_eq!(ring(&key(1)).open(&sealed).unwrap().expose_secret(), "postgres://hunter2");
        let refused = ring(&key(2)).open(&sealed).unwrap_err();
        assert!(refused.contains("is sealed with the key") && refused.contains(&sealed.key_id), "{refused}");
        let again = ring(&key(1)).seal(&name(), &value, "ada").unwrap();
        assert_ne!((again.nonce, again.ciphertext), (sealed.nonce.clone(), sealed.ciphertext.clone()));
    }

    #[test]
    fn a_row_that_was_changed_is_not_opened() {
        let ring = ring(&key(1));
        let sealed = ring.seal(&name(), &SecretString::from("hunter2"), "ada").unwrap();
        let mut bent = sealed.clone();
        bent.ciphertext[0] ^= 1;
        // A value moved to another row would be another secret's.
        let moved = SealedSecret { id: Uuid::now_v7(), ..sealed.clone() };
        let cut = SealedSecret { nonce: vec![0; 11], ..sealed };
        for bad in [bent, moved, cut] {
            assert!(ring.open(&bad).unwrap_err().contains("its row was changed"));
        }
    }

    #[test]
    fn the_first_key_seals_and_all_of_them_open() {
        let old = ring(&key(1)).seal(&name(), &SecretString::from("hunter2"), "ada").unwrap();
        let both = ring(&format!("{}, {}", key(2), key(1)));
        assert_eq!(both.open(&old).unwrap().expose_secret(), "hunter2");
        let new = both.seal(&name(), &SecretString::from("hunter2"), "ada").unwrap();
        assert!(ring(&key(2)).open(&new).is_ok() && ring(&key(1)).open(&new).is_err());
    }

    #[test]
    fn a_key_that_cannot_be_used_is_named_and_not_shown() {
        for (text, number) in [("hunter2", 1), (&*format!("{},aGVsbG8=", key(1)), 2), (&*STANDARD.encode([1; 16]), 1)] {
            let refused = Keyring::parse(&SecretString::from(text)).err().unwrap();
            assert!(refused.starts_with(&format!("key {number} is not 32 bytes")), "{refused}");
            assert!(!refused.contains("hunter2") && !refused.contains("aGVs"));
        }
        assert!(Keyring::parse(&SecretString::from(" , ")).is_err());
        assert!(Keyring::parse(&SecretString::from(URL_SAFE_NO_PAD.encode([255; 32]))).is_ok());
    }
}

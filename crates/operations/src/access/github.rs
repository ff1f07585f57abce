//! Signing in with GitHub: the authorization code flow with PKCE and state.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use url::Url;

use super::{Access, Principal, new_secret};
use crate::error::{OperationError, Port};

/// Somebody on their way to GitHub: where to, and what their browser keeps meanwhile.
#[derive(Debug)]
pub struct Invitation {
    pub url: Url,
    /// For a cookie of this browser alone. State and verifier are made of it, one way: GitHub sees
    /// the one and a hash of the other, and neither tells the secret.
    pub secret: SecretString,
}

impl Access {
    /// Whether people can sign in with GitHub.
    pub fn has_github(&self) -> bool {
        self.identities.is_some()
    }

    /// Sends somebody to GitHub, to come back to `redirect`.
    ///
    /// # Errors
    /// `NotFound` when sign-in with GitHub is not set up.
    pub fn invite(&self, redirect: &Url) -> Result<Invitation, OperationError> {
        let Some(identities) = &self.identities else { return Err(not_set_up()) };
        let secret = new_secret("").map_err(|error| OperationError::Broken(error.to_string()))?;
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier(&secret)));
        Ok(Invitation { url: identities.authorize_url(&state(&secret), &challenge, redirect), secret })
    }

    /// Who came back from GitHub with this state and code, to the browser that kept the secret.
    ///
    /// # Errors
    /// `Invalid` when the state is not this browser's; the forge's errors when GitHub does not say
    /// who it is.
    pub async fn welcome(
        &self,
        secret: &SecretString,
        given_state: &str,
        code: &str,
        redirect: &Url,
    ) -> Result<Principal, OperationError> {
        let Some(identities) = &self.identities else { return Err(not_set_up()) };
        // A link that somebody else made, to sign people in as themselves, has another state.
        if !bool::from(state(secret).as_bytes().ct_eq(given_state.as_bytes())) {
            return Err(OperationError::field(
                "state",
                "this sign-in was not begun in this browser, or too long ago: sign in again",
            ));
        }
        let account =
            identities.identify(code, &verifier(secret), redirect).await.map_err(|error| match error.kind {
                seatrial_preview::ErrorKind::Forbidden => OperationError::field("code", error.message),
                _ => OperationError::of_port(Port::Forge, error),
            })?;
        let person = self.store.ensure_person(&account, true).await?;
        // What they may do is looked up with their session.
        Ok(Principal::person(account.id, &account.login, person.operator, Vec::new()))
    }
}

fn derived(label: &str, secret: &SecretString) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(format!("seatrial {label} {}", secret.expose_secret())))
}

fn state(secret: &SecretString) -> String {
    derived("state", secret)
}

/// 43 characters, as RFC 7636 wants at least.
fn verifier(secret: &SecretString) -> String {
    derived("verifier", secret)
}

fn not_set_up() -> OperationError {
    OperationError::not_found(
        "github_sign_in_not_configured",
        "sign-in with GitHub is not set up: set SEATRIAL_GITHUB_CLIENT_ID, SEATRIAL_GITHUB_CLIENT_SECRET and SEATRIAL_PUBLIC_URL, or sign in with a token",
    )
}

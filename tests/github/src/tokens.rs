//! The App's own JSON web tokens, and the installation tokens bought with them.

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::reply::Refusal;
use crate::state::State;

/// The DER inside a PEM public key.
pub(crate) fn parse_public_key(pem: &str) -> Option<Vec<u8>> {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
    STANDARD.decode(body).ok().filter(|der| !der.is_empty())
}

/// Checks an App's token: its form, who issued it, how long it lives, and its
/// signature where the App's public key is known.
pub(crate) fn verify(state: &State, token: &str) -> Result<(), Refusal> {
    let undecodable = || Refusal::new(401, "A JSON web token could not be decoded");
    let parts: Vec<&str> = token.split('.').collect();
    let &[header, claims, signature] = parts.as_slice() else {
        return Err(undecodable());
    };
    let decode = |part: &str| -> Result<Value, Refusal> {
        let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| undecodable())?;
        serde_json::from_slice(&bytes).map_err(|_| undecodable())
    };
    if decode(header)?["alg"] != "RS256" {
        return Err(undecodable());
    }
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| undecodable())?;
    let claims = decode(claims)?;
    let issuer = match &claims["iss"] {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => {
            return Err(Refusal::new(401, "Missing 'issuer' claim ('iss') in assertion"));
        }
    };
    if issuer != state.app.id.to_string() && issuer != state.app.client_id {
        return Err(Refusal::new(401, "Integration not found"));
    }
    let now = state.clock.now().timestamp();
    let expires = claims["exp"].as_i64().filter(|expires| *expires > now).ok_or_else(|| {
        Refusal::new(
            401,
            "'Expiration time' claim ('exp') must be a numeric value representing the future \
                 time at which the assertion expires",
        )
    })?;
    // GitHub allows ten minutes, and the caller's clock to be a little off.
    if expires > now + 10 * 60 + 60 {
        return Err(Refusal::new(401, "'Expiration time' claim ('exp') is too far in the future"));
    }
    if claims["iat"].as_i64().is_some_and(|issued| issued > now + 60) {
        return Err(Refusal::new(
            401,
            "'Issued at' claim ('iat') must be an Integer representing the time that the \
             assertion was issued",
        ));
    }
    match &state.app.public_key {
        None => Ok(()),
        Some(key) => UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key)
            .verify(format!("{}.{}", parts[0], parts[1]).as_bytes(), &signature)
            .map_err(|_| undecodable()),
    }
}

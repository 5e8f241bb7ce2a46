//! Taking a compact JWT apart. Nothing in it is believed before its signature has been verified.

use std::str::FromStr as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::auth::AuthError;
use crate::auth::claims::Claims;

/// Longer tokens are not looked at.
pub(super) const MAX_LENGTH: usize = 8 * 1024;

pub(super) struct Parts<'t> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    pub(super) claims: Claims,
    /// What is signed.
    pub(super) message: &'t str,
    pub(super) signature: &'t str,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

pub(super) fn parse(token: &str) -> Result<Parts<'_>, AuthError> {
    if token.len() > MAX_LENGTH {
        return Err(AuthError::TooLong);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(AuthError::Malformed)?;
    let (header, claims) = message.split_once('.').ok_or(AuthError::Malformed)?;
    let header: Header = decode(header)?;
    // `none` is not a name of an algorithm here, and neither is anything unknown.
    let algorithm = Algorithm::from_str(&header.alg).map_err(|_| AuthError::Algorithm)?;
    let known = header.typ.as_deref().is_none_or(is_access_token);
    if !known || header.crit.is_some() {
        return Err(AuthError::Malformed);
    }
    Ok(Parts { algorithm, kid: header.kid, claims: decode(claims)?, message, signature })
}

/// Other types of JWT (logout tokens, proofs of possession) let nobody in.
fn is_access_token(kind: &str) -> bool {
    kind.eq_ignore_ascii_case("JWT") || kind.eq_ignore_ascii_case("at+jwt")
}

fn decode<T: DeserializeOwned>(part: &str) -> Result<T, AuthError> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| AuthError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| AuthError::Malformed)
}

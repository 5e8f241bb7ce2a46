//! Minting tokens for development and the command line. The platform itself never signs tokens for people.

use domain::identity::Role;
use domain::token::Tenant;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde::Serialize;

use crate::config::Secret;

#[derive(Clone, Debug, Serialize)]
pub struct NewToken {
    pub sub: String,
    pub tenant: String,
    pub role: &'static str,
    pub iat: i64,
    pub exp: i64,
    pub jti: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("the token could not be signed")]
pub struct MintError(#[from] jsonwebtoken::errors::Error);

impl NewToken {
    /// A token for `user`, valid from `now` for `seconds`.
    pub fn new(tenant: &Tenant, user: &str, role: Role, now: i64, seconds: i64) -> Self {
        Self {
            sub: user.to_owned(),
            tenant: tenant.to_string(),
            role: role.name(),
            iat: now,
            exp: now.saturating_add(seconds),
            jti: crate::ids::unguessable(),
            iss: None,
            aud: None,
            email: None,
            channels: Vec::new(),
            publish: Vec::new(),
        }
    }

    /// Signs it by HS256.
    pub fn sign(&self, secret: &Secret) -> Result<String, MintError> {
        let key = EncodingKey::from_secret(secret.expose().as_bytes());
        Ok(encode(&Header::default(), self, &key)?)
    }
}

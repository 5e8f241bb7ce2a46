//! Signed tokens as an application's backend makes them.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value as Json, json};
use sha2::Sha256;

pub(crate) const SECRET: &str = "a-secret-that-only-this-test-run-knows-0123456789";

/// Claims for a user with a role, valid for an hour.
pub(crate) fn claims(tenant: &str, user: &str, role: &str) -> Json {
    let id = format!("{user}-{}", rand::random::<u64>());
    json!({ "sub": user, "tenant": tenant, "role": role, "exp": now() + 3600, "jti": id })
}

pub(crate) fn token(tenant: &str, user: &str, role: &str) -> String {
    sign(&claims(tenant, user, role))
}

/// A backend that may publish everything.
pub(crate) fn service(tenant: &str) -> String {
    let mut claims = claims(tenant, "backend", "service");
    claims["publish"] = json!(["*"]);
    sign(&claims)
}

pub(crate) fn sign(claims: &Json) -> String {
    sign_with(claims, SECRET)
}

pub(crate) fn sign_with(claims: &Json, secret: &str) -> String {
    let part = |json: &Json| BASE64URL.encode(json.to_string());
    let body = format!("{}.{}", part(&json!({ "alg": "HS256", "typ": "JWT" })), part(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    format!("{body}.{}", BASE64URL.encode(mac.finalize().into_bytes()))
}

#[expect(clippy::disallowed_methods, reason = "the test's own clock: it shares no code")]
pub(crate) fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::identity::{Identity, Role};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::*;
use crate::config::Reader;
use crate::http_client::{Client, Limits};

mod hostile;
mod key_sets;
mod revocations;
mod rules;
mod sessions;

const SECRET: &str = "a secret of thirty-two characters";
const NOW: i64 = 1_700_000_000;

fn client() -> Client {
    Client::new(Limits::default()).unwrap()
}

#[track_caller]
fn settings(toml: &str) -> Settings {
    let applications = applications::parse(toml, None).unwrap();
    let (file, origins) = (None, Vec::new());
    Settings { shorthand: None, file, applications, origins, localhost: false }
}

#[track_caller]
fn authenticator(toml: &str) -> Authenticator {
    Authenticator::new(settings(toml), &client())
}

/// One application with `SECRET` for the tenant `acme`, and further keys of its entry.
#[track_caller]
fn acme(more: &str) -> Authenticator {
    authenticator(&format!(
        "[[application]]\nname = 'acme'\ntenant = 'acme'\nkey = {{ secret = '{SECRET}' }}\n{more}"
    ))
}

fn hs256(claims: &Value) -> String {
    signed(&Header::default(), claims, &EncodingKey::from_secret(SECRET.as_bytes()))
}

fn signed(header: &Header, claims: &Value, key: &EncodingKey) -> String {
    encode(header, claims, key).unwrap()
}

fn claims() -> Value {
    json!({"sub": "7", "role": "agent", "exp": NOW + 60})
}

/// The claims with one replaced or, by `null`, left out.
fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
        value => claims[name] = value,
    }
    claims
}

#[track_caller]
fn check(authenticator: &Authenticator, claims: &Value) -> Result<Identity, AuthError> {
    authenticator.verify_at(&hs256(claims), NOW)
}

#[test]
fn a_valid_token_becomes_an_identity() {
    let mut claims = claims();
    claims["email"] = json!("a@example.com");
    claims["channels"] = json!(["call:*"]);
    claims["publish"] = json!("metric.*");
    claims["jti"] = json!("t-1");
    let identity = check(&acme(""), &claims).unwrap();
    assert_eq!((identity.tenant.as_str(), &*identity.user), ("acme", "7"));
    assert_eq!(identity.role, Role::Agent);
    assert_eq!(identity.email.as_deref(), Some("a@example.com"));
    assert!(identity.channels[0].matches("call:CA1"));
    assert!(identity.publish[0].matches("metric.voice"));
    assert_eq!(identity.expires_at, Some(NOW + 60));
    assert_eq!(identity.token_id.as_deref(), Some("t-1"));
    assert_eq!(&*identity.application, "acme");
}

#[test]
fn a_user_whose_name_a_header_would_change_is_nobody() {
    for bad in ["7 ", " 7", "7\u{a0}", "7\n", "a\nb", "50%", ""] {
        let refused = check(&acme(""), &with("sub", json!(bad)));
        assert!(matches!(refused, Err(AuthError::Claim("sub"))), "{bad:?}");
    }
}

#[test]
fn a_minted_token_is_accepted() {
    let tenant = domain::token::Tenant::parse("acme").unwrap();
    let token = NewToken::new(&tenant, "7", Role::Admin, NOW, 60);
    let token = token.sign(&crate::config::Secret::new(SECRET)).unwrap();
    let identity = acme("").verify_at(&token, NOW).unwrap();
    assert_eq!((identity.role, identity.expires_at), (Role::Admin, Some(NOW + 60)));
}

#[test]
fn verifying_is_fast_enough_for_ten_thousand_clients_at_once() {
    let (authenticator, token) = (acme(""), hs256(&claims()));
    let started = std::time::Instant::now();
    for _ in 0..1_000 {
        assert!(authenticator.verify_at(&token, NOW).is_ok());
    }
    // A debug build takes some tens of microseconds each; an accidental key setup per call takes far more.
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

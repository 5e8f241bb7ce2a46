//! Key sets that issuers serve.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::http::{ServeOptions, serve};
use crate::tasks::{Owned, owned};

const SET: &str = include_str!("../../../testdata/rs256_set.json");
const TOKEN: &str = include_str!("../../../testdata/rs256_token.txt");

type Answer = Arc<Mutex<(StatusCode, String)>>;

/// An application whose issuer serves whatever `Answer` holds.
async fn issuer(body: &str) -> (Authenticator, Answer, Owned<()>) {
    let answer: Answer = Arc::new(Mutex::new((StatusCode::OK, body.to_owned())));
    let shown = answer.clone();
    let router = Router::new().route("/keys", get(async move || shown.lock().unwrap().clone()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let running = owned(async move {
        let stop = CancellationToken::new();
        let _stopped = serve(vec![listener], router, ServeOptions::default(), stop).await;
    });
    let toml = format!(
        "[[application]]\nname = 'acme'\ntenant = 'acme'\nkey = {{ jwks_url = 'http://{address}/keys' }}"
    );
    (authenticator(&toml), answer, running)
}

#[tokio::test]
async fn a_key_of_the_set_verifies_and_its_removal_ends_who_came_in_by_it() {
    let (authenticator, answer, _server) = issuer(SET).await;
    let token = TOKEN.trim();
    assert_eq!(authenticator.verify_at(token, NOW), Err(AuthError::Unavailable));
    assert!(!authenticator.knows_its_keys());

    authenticator.refresh_keys().await;
    let identity = authenticator.verify_at(token, NOW).unwrap();
    let mut changes = authenticator.changes();
    authenticator.refresh_keys().await;
    assert!(!changes.has_changed().unwrap(), "the same set is no change");

    *answer.lock().unwrap() = (StatusCode::INTERNAL_SERVER_ERROR, String::new());
    authenticator.refresh_keys().await;
    *answer.lock().unwrap() = (StatusCode::OK, "<html>maintenance</html>".to_owned());
    authenticator.refresh_keys().await;
    assert_eq!(
        authenticator.still_valid_at(&identity, NOW),
        Ok(()),
        "an unusable answer is no removal"
    );

    *answer.lock().unwrap() = (StatusCode::OK, SET.replace("first", "second"));
    authenticator.refresh_keys().await;
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    assert_eq!(authenticator.still_valid_at(&identity, NOW), Err(AuthError::Withdrawn));
    assert_eq!(
        authenticator.verify_at(token, NOW),
        Err(AuthError::Signature),
        "its kid is not in the set"
    );
}

#[tokio::test]
async fn symmetric_and_encryption_keys_of_a_set_verify_nothing() {
    let secret = URL_SAFE_NO_PAD.encode(SECRET);
    let keys = json!({"keys": [
        {"kty": "oct", "alg": "HS256", "k": secret},
        {"kty": "oct", "k": secret},
        {"kty": "future", "x": 1},
        "nonsense",
    ]});
    let (authenticator, _answer, _server) = issuer(&keys.to_string()).await;
    authenticator.refresh_keys().await;
    assert!(authenticator.knows_its_keys());
    assert!(check(&authenticator, &claims()).is_err());

    let encryption = SET.replace(r#""use":"sig""#, r#""use":"enc""#);
    let (authenticator, _answer, _server) = issuer(&encryption).await;
    authenticator.refresh_keys().await;
    assert_eq!(authenticator.verify_at(TOKEN.trim(), NOW), Err(AuthError::Signature));
}

#[tokio::test]
async fn keys_are_fetched_by_the_running_task() {
    let (authenticator, _answer, _server) = issuer(SET).await;
    let stop = CancellationToken::new();
    let running = owned(authenticator.clone().run(stop.clone()));
    let mut changes = authenticator.changes();
    let fetched = changes.wait_for(|generation| *generation > 0);
    tokio::time::timeout(Duration::from_secs(5), fetched).await.unwrap().unwrap();
    assert!(authenticator.verify_at(TOKEN.trim(), NOW).is_ok());
    stop.cancel();
    running.join().await.unwrap().unwrap();
}

#[test]
fn elliptic_and_edwards_keys_verify_their_own_algorithm() {
    let kinds = [
        (&rcgen::PKCS_ECDSA_P256_SHA256, Algorithm::ES256),
        (&rcgen::PKCS_ECDSA_P384_SHA384, Algorithm::ES384),
        (&rcgen::PKCS_ED25519, Algorithm::EdDSA),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (kind, algorithm) in kinds {
        let pair = rcgen::KeyPair::generate_for(kind).unwrap();
        std::fs::write(folder.path().join("key.pem"), pair.public_key_pem()).unwrap();
        let toml = "[[application]]\nname = 'acme'\ntenant = 'acme'\nkey = { public_key_file = 'key.pem' }";
        let applications = applications::parse(toml, Some(folder.path())).unwrap();
        let base = settings("[[application]]\nname = 'x'\ntenant = 'x'\nkey = { secret = 'x' }");
        let authenticator = Authenticator::new(Settings { applications, ..base }, &client());
        let private = pair.serialize_pem();
        let key = match algorithm {
            Algorithm::EdDSA => EncodingKey::from_ed_pem(private.as_bytes()),
            _ => EncodingKey::from_ec_pem(private.as_bytes()),
        };
        let token = signed(&Header::new(algorithm), &claims(), &key.unwrap());
        assert!(authenticator.verify_at(&token, NOW).is_ok(), "{algorithm:?}");
        assert_eq!(check(&authenticator, &claims()), Err(AuthError::Algorithm));

        std::fs::write(folder.path().join("key.pem"), private).unwrap();
        let refused = applications::parse(toml, Some(folder.path())).unwrap_err();
        assert!(refused.to_string().contains("is not a public key in PEM"), "{refused}");
    }
}

//! Cookies, sessions of other systems, and visitors without any credential.

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json};
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::http::{ServeOptions, serve};
use crate::tasks::{Owned, owned};

const PAGE: &str = "https://app.example.com";

fn credentials(headers: &[(&'static str, &str)]) -> Credentials {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, value.parse().unwrap());
    }
    Credentials::of(&map, None)
}

/// A token that is valid by the real clock.
fn lasting() -> String {
    hs256(&with("exp", json!(clock::unix_seconds() + 600)))
}

async fn user(
    authenticator: &Authenticator,
    credentials: &Credentials,
) -> Result<String, AuthError> {
    let admitted = authenticator.authenticate(credentials).await?;
    Ok(admitted.identity.user.to_string())
}

#[tokio::test]
async fn a_cookie_counts_for_the_pages_of_its_application_alone() {
    let acme = acme(&format!("origins = ['{PAGE}']\ncookie = 'token'"));
    let cookie = format!("token={}", lasting());
    let from = |origin| credentials(&[("cookie", &cookie), ("origin", origin)]);
    assert_eq!(user(&acme, &from(PAGE)).await.as_deref(), Ok("7"));
    assert_eq!(user(&acme, &from("https://evil.example")).await, Err(AuthError::Missing));
    assert_eq!(user(&acme, &from(PAGE).without_cookies()).await, Err(AuthError::Missing));

    let same_origin = credentials(&[("cookie", &cookie), ("sec-fetch-site", "same-origin")]);
    assert_eq!(user(&acme, &same_origin).await.as_deref(), Ok("7"));
    let cross_site = credentials(&[("cookie", &cookie), ("sec-fetch-site", "cross-site")]);
    assert_eq!(user(&acme, &cross_site).await, Err(AuthError::Missing));

    let bad = credentials(&[("cookie", "token=garbage"), ("origin", PAGE)]);
    assert_eq!(user(&acme, &bad).await, Err(AuthError::Malformed));
    let both = from(PAGE).with_token("garbage");
    assert_eq!(user(&acme, &both).await, Err(AuthError::Malformed), "a token wins over the cookie");
}

#[tokio::test]
async fn a_cookie_of_one_application_is_no_credential_for_another() {
    let two = authenticator(&format!(
        "[[application]]\nname = 'one'\ntenant = 'one'\norigins = ['{PAGE}']\ncookie = 'token'\nkey = {{ secret = 'one' }}
         [[application]]\nname = 'two'\ntenant = 'two'\nkey = {{ secret = '{SECRET}' }}"
    ));
    let cookie = format!("token={}", lasting());
    let sent = credentials(&[("cookie", &cookie), ("origin", PAGE)]);
    assert_eq!(user(&two, &sent).await, Err(AuthError::Signature));
}

/// Two applications on one machine while they are developed, and an origin of the whole platform.
fn developed(entries: &str) -> Authenticator {
    let settings = Settings {
        origins: vec!["https://all.example.com".to_owned()],
        localhost: true,
        ..settings(&format!(
            "{entries}\n[[application]]\nname = 'dash'\ntenant = 'dash'\norigins = ['http://localhost:3000']\nkey = {{ secret = 'dash' }}"
        ))
    };
    Authenticator::new(settings, &client())
}

#[tokio::test]
async fn of_two_applications_on_one_machine_neither_uses_the_others_cookie() {
    let main = |origins| {
        developed(&format!(
            "[[application]]\nname = 'main'\ntenant = 'main'\n{origins}cookie = 'token'\nkey = {{ secret = '{SECRET}' }}"
        ))
    };
    let cookie = format!("token={}", lasting());
    let from = |origin| credentials(&[("cookie", &cookie), ("origin", origin)]);
    let own = main("origins = ['http://localhost:5173']\n");
    let other = from("http://localhost:3000");
    assert!(own.origins().allows(other.origin.as_deref()), "it may connect");
    assert_eq!(user(&own, &other).await, Err(AuthError::Missing), "and brings no credential");
    assert_eq!(user(&own, &from("http://localhost:5173")).await.as_deref(), Ok("7"));
    let all = from("https://all.example.com");
    assert_eq!(user(&own, &all).await, Err(AuthError::Missing));
    let none = main("");
    for page in [&other, &all] {
        assert_eq!(user(&none, page).await.as_deref(), Ok("7"), "it names no pages of its own");
    }
    let bearer = other.with_token(lasting());
    assert_eq!(user(&own, &bearer).await.as_deref(), Ok("7"), "a token comes from whoever has it");
}

#[tokio::test]
async fn a_visitor_gets_the_anonymous_role_of_its_origin_and_a_subject_of_its_own() {
    let acme = acme(&format!("origins = ['{PAGE}']\nanonymous = 'agent'"));
    let visitor = credentials(&[("origin", PAGE)]);
    let first = acme.authenticate(&visitor).await.unwrap().identity;
    let second = acme.authenticate(&visitor).await.unwrap().identity;
    assert_eq!((first.role, first.tenant.as_str()), (Role::Agent, "acme"));
    assert_ne!(first.user, second.user);
    assert_eq!(acme.still_valid(&first), Ok(()));

    assert_eq!(user(&acme, &credentials(&[])).await, Err(AuthError::Missing));
    let elsewhere = credentials(&[("origin", "https://evil.example")]);
    assert_eq!(user(&acme, &elsewhere).await, Err(AuthError::Missing));
    let wrong = visitor.with_token("garbage");
    assert_eq!(
        user(&acme, &wrong).await,
        Err(AuthError::Malformed),
        "a bad token is not anonymous"
    );
}

#[tokio::test]
async fn without_an_anonymous_role_nobody_gets_in_without_a_credential() {
    let acme = acme(&format!("origins = ['{PAGE}']"));
    let refusal = user(&acme, &credentials(&[("origin", PAGE)])).await.unwrap_err();
    assert_eq!(refusal.seed_message(), "Authentication token required");
    assert_eq!(AuthError::Expired.seed_message(), "Invalid authentication token");
}

async fn session_check(headers: HeaderMap) -> axum::response::Response {
    match headers.get("cookie").map(|value| value.to_str().unwrap()) {
        Some("session=good") => {
            let host = headers.get("x-forwarded-secret").is_some();
            assert!(!host, "only Cookie and Authorization are passed on");
            Json(json!({"userId": 9, "workspaceId": "w-1", "role": "user"})).into_response()
        }
        Some("session=slow") => std::future::pending().await,
        Some("session=broken") => StatusCode::BAD_GATEWAY.into_response(),
        _ => StatusCode::UNAUTHORIZED.into_response(),
    }
}

async fn proxied() -> (Authenticator, Owned<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let running = owned(async move {
        let router = Router::new().route("/me", get(session_check));
        let stop = CancellationToken::new();
        let _stopped = serve(vec![listener], router, ServeOptions::default(), stop).await;
    });
    let toml = format!(
        "[[application]]\nname = 'dialer'\ntenant = 'from-token'\norigins = ['{PAGE}']\nauth_proxy = 'http://{address}/me'"
    );
    (developed(&toml), running)
}

#[tokio::test]
async fn a_session_is_judged_by_its_own_system_and_asked_again() {
    let (dialer, _server) = proxied().await;
    let sent = |cookie| {
        credentials(&[("cookie", cookie), ("origin", PAGE), ("x-forwarded-secret", "hidden")])
    };
    let admitted = dialer.authenticate(&sent("session=good")).await.unwrap();
    assert_eq!((&*admitted.identity.user, admitted.identity.tenant.as_str()), ("9", "w-1"));
    assert_eq!(dialer.still_valid(&admitted.identity), Ok(()));
    let again = dialer.authenticate(&admitted.ask_again.unwrap()).await.unwrap();
    assert_eq!(again.identity, admitted.identity);

    assert_eq!(user(&dialer, &sent("session=old")).await, Err(AuthError::Session));
    assert_eq!(user(&dialer, &sent("session=broken")).await, Err(AuthError::Unavailable));
    assert_eq!(user(&dialer, &credentials(&[("origin", PAGE)])).await, Err(AuthError::Missing));
    for origin in ["https://evil.example", "http://localhost:3000"] {
        let elsewhere = credentials(&[("cookie", "session=good"), ("origin", origin)]);
        assert_eq!(user(&dialer, &elsewhere).await, Err(AuthError::Missing), "{origin}");
    }
}

#[tokio::test]
async fn a_session_check_that_hangs_is_given_three_seconds() {
    let (dialer, _server) = proxied().await;
    let sent = credentials(&[("cookie", "session=slow"), ("origin", PAGE)]);
    let started = std::time::Instant::now();
    assert_eq!(user(&dialer, &sent).await, Err(AuthError::Unavailable));
    assert!((2..5).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}

use std::error::Error;

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::http::{ServeOptions, serve};
use crate::tasks::{Owned, owned};

async fn server() -> (String, Owned<()>) {
    let router = Router::new()
        .route("/ok", get(async || "hello"))
        .route("/large", get(async || "x".repeat(2_000)))
        .route("/moved", get(async || Redirect::temporary("/ok")))
        .route("/slow", get(std::future::pending::<()>));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let running = owned(async move {
        let stop = CancellationToken::new();
        let _stopped = serve(vec![listener], router, ServeOptions::default(), stop).await;
    });
    (base, running)
}

async fn ask(base: &str, path: &str) -> Result<Response<Bytes>, ClientError> {
    let limits = Limits { deadline: Duration::from_millis(300), max_body: 1_000 };
    let request = Request::get(format!("{base}{path}")).body(Bytes::new()).unwrap();
    Client::new(limits).unwrap().send(request).await
}

#[tokio::test]
async fn an_exchange_is_bounded_in_time_and_size() {
    let (base, _server) = server().await;
    assert_eq!(ask(&base, "/ok").await.unwrap().body(), "hello");
    assert!(matches!(ask(&base, "/large").await, Err(ClientError::TooLarge(1_000))));
    assert!(matches!(ask(&base, "/slow").await, Err(ClientError::Deadline(_))));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (base, _server) = server().await;
    assert_eq!(ask(&base, "/moved").await.unwrap().status(), 307);
}

#[tokio::test]
async fn only_http_addresses_are_asked_and_queries_stay_out_of_errors() {
    let error = ask("ftp://example.com", "/x?key=hunter2").await.unwrap_err();
    assert_eq!(error.to_string(), r#""ftp://example.com/x" is not an http or https address"#);
    assert!(error.source().is_none());
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    assert!(matches!(ask(&base, "/ok").await, Err(ClientError::Unreachable(_))));
}

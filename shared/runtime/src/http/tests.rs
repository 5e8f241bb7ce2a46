use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use axum::routing::{get, post};
use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use serde_json::Value;

use super::*;

async fn ask(edge: &Edge, request: Request<Body>) -> (Response<Body>, Value) {
    let response = edge.answer(request).await;
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    (Response::from_parts(parts, Body::empty()), json)
}

fn app() -> Edge {
    let refuse = async || {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "log_unavailable", "Send it again.")
            .retry_after(2)
            .with("pointer", "/data/id")
    };
    let echo = async |body: Body| read_body(body, 4).await;
    let id = async |request: axum::extract::Request| {
        request.extensions().get::<RequestId>().unwrap().0.to_string()
    };
    edge(
        Router::new()
            .route("/refuse", get(refuse))
            .route("/echo", post(echo))
            .route("/id", get(id)),
        None,
    )
}

#[tokio::test]
async fn a_problem_names_its_code_and_the_request() {
    let request = Request::get("/refuse").header("x-request-id", "mine").body(Body::empty());
    let (response, body) = ask(&app(), request.unwrap()).await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    assert_eq!(response.headers()[header::RETRY_AFTER], "2");
    assert_eq!(response.headers().get_all(header::CONTENT_TYPE).iter().count(), 1);
    let id = response.headers()["x-request-id"].to_str().unwrap();
    assert_ne!(id, "mine", "an id from outside must not be taken over");
    assert_eq!(body["requestId"], id);
    assert_eq!(body["code"], "log_unavailable");
    assert_eq!(body["status"], 503);
    assert_eq!(body["pointer"], "/data/id");
    assert_eq!(body["detail"], "Send it again.");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let (response, body) = ask(&app(), Request::get("/no").body(Body::empty()).unwrap()).await;
    assert_eq!((response.status().as_u16(), &body["code"]), (404, &"not_found".into()));
    let (response, body) = ask(&app(), Request::post("/id").body(Body::empty()).unwrap()).await;
    assert_eq!((response.status().as_u16(), &body["code"]), (405, &"method_not_allowed".into()));
}

#[tokio::test]
async fn a_body_over_its_limit_is_413() {
    let (response, _) = ask(&app(), Request::post("/echo").body(Body::from("1234")).unwrap()).await;
    assert_eq!(response.status(), 200);
    let (response, body) =
        ask(&app(), Request::post("/echo").body(Body::from("12345")).unwrap()).await;
    assert_eq!((response.status().as_u16(), &body["code"]), (413, &"too_large".into()));
    assert_eq!(body["limit"], 4);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_408() {
    let first = futures_util::stream::once(async {
        Ok::<_, std::io::Error>(Frame::data(Bytes::from("1")))
    });
    let body =
        StreamBody::new(futures_util::StreamExt::chain(first, futures_util::stream::pending()));
    let before = tokio::time::Instant::now();
    let problem = read_body(Body::new(body), 4).await.unwrap_err();
    assert_eq!(problem.status, StatusCode::REQUEST_TIMEOUT);
    assert!(before.elapsed() < Duration::from_secs(60));
}

#[test]
fn origins_match_exactly() {
    let origins = Origins::new(["https://app.example.com/".to_owned()]);
    assert!(origins.allows(None));
    assert!(origins.allows(Some("https://app.example.com")));
    for other in [
        "http://app.example.com",
        "https://app.example.com.evil.org",
        "https://app.example.com:8443",
        "https://evil-app.example.com",
        "null",
        "",
        "http://localhost:5173",
    ] {
        assert!(!origins.allows(Some(other)), "{other}");
    }
    origins.replace(["https://new.example.com".to_owned()]);
    assert!(!origins.allows(Some("https://app.example.com")));
    assert!(origins.clone().allows(Some("https://new.example.com")));
}

#[test]
fn localhost_means_this_machine_and_nothing_that_begins_like_it() {
    let origins = Origins::default().with_localhost();
    for mine in
        ["http://localhost:5173", "https://localhost", "http://127.0.0.1:80", "http://[::1]:3"]
    {
        assert!(origins.allows(Some(mine)), "{mine}");
    }
    for other in
        ["http://localhost.evil.org", "http://127.0.0.1.evil.org", "http://evil.org", "null"]
    {
        assert!(!origins.allows(Some(other)), "{other}");
    }
}

fn cors() -> Edge {
    let routes = Router::new().route("/x", get(async || "content").post(async || "posted"));
    edge(routes, Some(Origins::new(["https://a.example".to_owned()])))
}

#[tokio::test]
async fn other_origins_are_refused_before_the_route_runs() {
    let request = Request::post("/x").header("origin", "https://b.example").body(Body::empty());
    let (response, body) = ask(&cors(), request.unwrap()).await;
    assert_eq!((response.status().as_u16(), &body["code"]), (403, &"origin_not_allowed".into()));
    assert!(!response.headers().contains_key("access-control-allow-origin"));
    assert!(body["requestId"].is_string());
}

#[tokio::test]
async fn an_allowed_origin_gets_its_cors_headers() {
    let request = Request::get("/x").header("origin", "https://a.example").body(Body::empty());
    let (response, _) = ask(&cors(), request.unwrap()).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["access-control-allow-origin"], "https://a.example");
    assert_eq!(response.headers()["access-control-allow-credentials"], "true");
    assert_eq!(response.headers()["vary"], "origin");
    let exposed = response.headers()["access-control-expose-headers"].to_str().unwrap();
    for name in ["x-request-id", "retry-after", "allow"] {
        assert!(exposed.split(", ").any(|it| it == name), "{name}: {exposed}");
    }

    let request = Request::options("/x")
        .header("origin", "https://a.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization")
        .body(Body::empty());
    let (response, _) = ask(&cors(), request.unwrap()).await;
    assert_eq!(response.status(), 204);
    assert_eq!(response.headers()["access-control-allow-headers"], "authorization");
}

#[tokio::test]
async fn a_request_without_an_origin_passes() {
    let (response, _) = ask(&cors(), Request::get("/x").body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("access-control-allow-origin"));
}

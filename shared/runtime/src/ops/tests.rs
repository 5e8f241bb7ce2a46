use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::*;

async fn ask(router: &Router, path: &str) -> (StatusCode, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn readiness_says_what_is_missing_until_it_is_there() {
    let readiness = Readiness::new();
    let router = router(readiness.clone(), Metrics::new());
    assert_eq!(ask(&router, "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE, "it begins");
    let (nats, streams) = (readiness.condition("nats"), readiness.condition("streams"));
    nats.holds();
    streams.missing("CALLS is not there; run throughline streams apply");

    let (status, body) = ask(&router, "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let missing = json!(["streams: CALLS is not there; run throughline streams apply"]);
    assert_eq!(body["missing"], missing);

    let clients = readiness.condition("clients");
    streams.holds();
    readiness.others(&clients).await;
    assert_eq!(ask(&router, "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    clients.holds();
    assert_eq!(ask(&router, "/readyz").await.0, StatusCode::OK);

    readiness.stopping();
    assert_eq!(ask(&router, "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ask(&router, "/livez").await.0, StatusCode::OK);
}

#[tokio::test]
async fn metrics_are_served_as_text() {
    let metrics = Metrics::new();
    metrics.gauge("connections", "Connections now.").set(7);
    let (status, body) = ask(&router(Readiness::new(), metrics), "/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.contains("throughline_connections 7"), "{body}");
}

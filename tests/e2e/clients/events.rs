//! A backend that publishes one event and wants it stored.

use std::net::SocketAddr;

use serde_json::{Value as Json, json};

use super::http::Request;
use super::token::service;

/// By the event's type or its wire name, as any service of the tenant may.
pub(crate) async fn publish(to: SocketAddr, tenant: &str, name: &str, data: &Json) {
    publish_for(to, tenant, name, data, &[]).await;
}

/// The same, for these users besides its channels.
pub(crate) async fn publish_for(
    to: SocketAddr,
    tenant: &str,
    name: &str,
    data: &Json,
    audience: &[&str],
) {
    let mut event = json!({ "type": name, "data": data });
    if !audience.is_empty() {
        event["audience"] = json!(audience);
    }
    let request = Request::post("/v1/events").bearer(&service(tenant)).json(&event);
    let answer = request.send(to).await.unwrap();
    assert!((200..300).contains(&answer.status), "{name}: {} {}", answer.status, answer.text());
}

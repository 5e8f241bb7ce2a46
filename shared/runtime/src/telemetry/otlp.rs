//! Closed spans to a collector, as OTLP over HTTP in JSON. What cannot be delivered is let go and counted: tracing
//! must never hold up what it traces. It must not know what the spans are about.

use std::time::Duration;

use axum::http::{Request, Uri, header};
use bytes::Bytes;
use serde_json::{Value as Json, json};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::sleep;
use tracing::{info, warn};

use super::DROPPED;
use super::spans::{Span, Value};
use crate::http_client::{Client, Limits};

/// Spans that wait; beyond it the newest are let go.
const WAITING: usize = 4_096;
/// The most spans of one delivery.
const BATCH: usize = 512;
/// Spans are gathered for so long before they are sent.
const GATHER: Duration = Duration::from_secs(1);
const LIMITS: Limits = Limits { deadline: Duration::from_secs(5), max_body: 64 * 1024 };
/// Where a collector takes traces, below its base address.
const PATH: &str = "/v1/traces";

pub(super) fn queue() -> (Sender<Span>, Receiver<Span>) {
    channel(WAITING)
}

/// The address that traces are sent to, by the collector's base address.
pub(super) fn address(base: &str) -> Option<Uri> {
    let base: Uri = base.trim().trim_end_matches('/').parse().ok()?;
    let is_http = matches!(base.scheme_str(), Some("http" | "https")) && base.host().is_some();
    let path = base.path().trim_end_matches('/');
    let whole = format!("{}://{}{path}{PATH}", base.scheme_str()?, base.authority()?);
    is_http.then(|| whole.parse().ok()).flatten()
}

/// Sends what closes, until nothing can close any more.
pub(super) async fn export(mut closed: Receiver<Span>, address: Uri, service: String) {
    let client = match Client::new(LIMITS) {
        Ok(client) => client,
        Err(error) => return warn!(%error, "spans are not exported"),
    };
    let mut batch = Vec::with_capacity(BATCH);
    let mut is_away = false;
    while closed.recv_many(&mut batch, BATCH).await > 0 {
        sleep(GATHER).await;
        while batch.len() < BATCH
            && let Ok(span) = closed.try_recv()
        {
            batch.push(span);
        }
        let was_away = is_away;
        is_away = !deliver(&client, &address, &service, &batch).await;
        if is_away {
            DROPPED.inc_by(batch.len() as u64);
        }
        match (was_away, is_away) {
            (false, true) => warn!("the collector does not take spans; they are let go"),
            (true, false) => info!("the collector takes spans again"),
            _ => {}
        }
        batch.clear();
    }
}

async fn deliver(client: &Client, address: &Uri, service: &str, batch: &[Span]) -> bool {
    let body = Bytes::from(encode(service, batch).to_string());
    let request = Request::post(address).header(header::CONTENT_TYPE, "application/json");
    let Ok(request) = request.body(body) else { return false };
    client.send(request).await.is_ok_and(|answer| answer.status().is_success())
}

fn encode(service: &str, batch: &[Span]) -> Json {
    let spans: Vec<_> = batch.iter().map(span).collect();
    json!({ "resourceSpans": [{
        "resource": { "attributes": [attribute("service.name", &Value::Text(service.to_owned()))] },
        "scopeSpans": [{ "scope": { "name": "throughline" }, "spans": spans }],
    }] })
}

fn span(span: &Span) -> Json {
    let mut told = json!({
        "traceId": hex(&span.trace),
        "spanId": hex(&span.id),
        "name": span.name,
        // Internal; who serves and who asks is told by the names.
        "kind": 1,
        "startTimeUnixNano": span.began.to_string(),
        "endTimeUnixNano": span.ended.to_string(),
        "attributes": span.fields.iter().map(|(name, value)| attribute(name, value)).collect::<Vec<_>>(),
    });
    if let Some(parent) = &span.parent {
        told["parentSpanId"] = hex(parent).into();
    }
    told
}

fn attribute(name: &str, value: &Value) -> Json {
    let value = match value {
        Value::Text(text) => json!({ "stringValue": text }),
        // 64-bit numbers are strings in the JSON form of protocol buffers.
        Value::Number(number) => json!({ "intValue": number.to_string() }),
        Value::Flag(flag) => json!({ "boolValue": flag }),
    };
    json!({ "key": name, "value": value })
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_go_below_the_base_address() {
        let to = |base| address(base).map(|uri| uri.to_string());
        assert_eq!(to("http://otel:4318").unwrap(), "http://otel:4318/v1/traces");
        assert_eq!(to("https://otel/tenant/").unwrap(), "https://otel/tenant/v1/traces");
        for bad in ["", "otel:4318", "grpc://otel:4317", "/v1/traces"] {
            assert_eq!(to(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_span_has_the_form_of_otlp_json() {
        let fields = vec![
            ("http.route", Value::Text("/ws".to_owned())),
            ("http.response.status_code", Value::Number(101)),
        ];
        let (trace, id, parent) = ([0xab; 16], [1; 8], Some([2; 8]));
        let name = "GET /ws".to_owned();
        let span = Span { trace, id, parent, name, began: 5, ended: 7, fields };
        let told = encode("gateway", &[span]);
        let of = &told["resourceSpans"][0];
        let service = json!({ "key": "service.name", "value": { "stringValue": "gateway" } });
        assert_eq!(of["resource"]["attributes"][0], service);
        let expected = json!({
            "traceId": "ab".repeat(16), "spanId": "01".repeat(8), "parentSpanId": "02".repeat(8),
            "name": "GET /ws", "kind": 1, "startTimeUnixNano": "5", "endTimeUnixNano": "7",
            "attributes": [
                { "key": "http.route", "value": { "stringValue": "/ws" } },
                { "key": "http.response.status_code", "value": { "intValue": "101" } },
            ],
        });
        assert_eq!(of["scopeSpans"][0]["spans"][0], expected);
    }
}

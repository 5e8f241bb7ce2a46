//! A page of history as JSON or NDJSON: CloudEvents, each with the cursor that resumes right after it.

use axum::http::{HeaderName, header};
use axum::response::{IntoResponse as _, Response};
use domain::Tenant;
use domain::cursor::Cursor;
use domain::envelope::rfc3339;
use domain::position::Position;
use serde_json::Value;

use super::Found;
use crate::edge::Shared;
use crate::entry::Entry;

fn encode(edge: &Shared, tenant: &Tenant, position: &Position) -> String {
    edge.hub.keys.encode(tenant, &Cursor { position: *position, ..Cursor::default() })
}

pub(super) fn render(edge: &Shared, tenant: &Tenant, found: Found, ndjson: bool) -> Response {
    let encode = |position: &Position| encode(edge, tenant, position);
    if ndjson {
        let mut body = String::with_capacity(found.events.len() * 512);
        for (entry, position) in &found.events {
            push_cloud_event(&mut body, entry, &encode(position));
            body.push('\n');
        }
        // What a page says besides its events goes into headers, so that each line is an event.
        let headers = [
            (header::CONTENT_TYPE, "application/x-ndjson".to_owned()),
            (HeaderName::from_static("throughline-cursor"), encode(&found.next)),
            (HeaderName::from_static("throughline-more"), found.more.to_string()),
        ];
        let gap = found.expired.then(|| [(HeaderName::from_static("throughline-gap"), "expired")]);
        return match gap {
            Some(gap) => (headers, gap, body).into_response(),
            None => (headers, body).into_response(),
        };
    }
    let body = json(edge, tenant, &found);
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

pub(super) fn json(edge: &Shared, tenant: &Tenant, found: &Found) -> String {
    let encode = |position: &Position| encode(edge, tenant, position);
    let mut body = String::with_capacity(found.events.len() * 512 + 256);
    body.push_str("{\"events\":[");
    for (index, (entry, position)) in found.events.iter().enumerate() {
        if index > 0 {
            body.push(',');
        }
        push_cloud_event(&mut body, entry, &encode(position));
    }
    let mut rest = serde_json::json!({ "cursor": encode(&found.next), "more": found.more });
    if found.expired {
        rest["gap"] = serde_json::json!({ "reason": "expired" });
    }
    // The rest of the object, without its opening brace.
    body.push_str("],");
    body.push_str(&rest.to_string()[1..]);
    body
}

/// The full event as structured CloudEvents JSON. The data is JSON already and is copied as it is.
fn push_cloud_event(out: &mut String, entry: &Entry, cursor: &str) {
    let envelope = &entry.envelope;
    out.push_str("{\"specversion\":\"1.0\"");
    push(out, "id", &envelope.id);
    push(out, "source", &envelope.source);
    push(out, "type", &envelope.event_type);
    push(out, "time", &rfc3339(envelope.time));
    push(out, "datacontenttype", "application/json");
    push(out, "tenant", envelope.tenant.as_str());
    for (name, value) in
        [("correlationid", &envelope.correlation_id), ("causationid", &envelope.causation_id)]
    {
        if let Some(value) = value {
            push(out, name, value);
        }
    }
    out.push_str(",\"version\":");
    out.push_str(&envelope.version.to_string());
    out.push_str(",\"channels\":[");
    for (index, channel) in envelope.channels.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        push_string(out, channel.as_str());
    }
    out.push_str("],\"data\":");
    out.push_str(std::str::from_utf8(&entry.opened()).unwrap_or("null"));
    push(out, "cursor", cursor);
    out.push('}');
}

fn push(out: &mut String, name: &str, value: &str) {
    out.push_str(",\"");
    out.push_str(name);
    out.push_str("\":");
    push_string(out, value);
}

fn push_string(out: &mut String, text: &str) {
    out.push_str(&Value::from(text).to_string());
}

//! A tRPC v11 subscription over SSE, as `httpSubscriptionLink` reads it: values without an event name, a ping that
//! carries the position.
//!
//! In bare mode the hook gets the value itself: the value's own `id:` is empty, and the position follows in a ping.
//! In tracked mode the hook gets `{id, data}`.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::entry::{Entry, Variant};

/// The events of the subscription `onCallEvent`.
const CARRIED: [&str; 2] = ["live_call", "call_completed"];

/// Ends nothing and moves nothing: a sign of life.
pub(crate) const PING: &[u8] = b"event: ping\ndata: \n\n";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mode {
    /// The client's transformer is superjson: values are wrapped in `{"json": …}`.
    pub(crate) superjson: bool,
    pub(crate) tracked: bool,
}

pub(super) fn carries(variant: &Variant) -> bool {
    CARRIED.contains(&&*variant.name)
}

pub(super) fn event_body(mode: Mode, entry: &Entry, variant: &Variant) -> Bytes {
    let mut data: Map<String, Value> = serde_json::from_slice(&entry.data()).unwrap_or_default();
    data.entry("type").or_insert_with(|| json!(&*variant.name));
    value(mode, &Value::Object(data)).into()
}

pub(super) fn finish_event(mode: Mode, body: &Bytes, cursor: &str) -> Bytes {
    let body = String::from_utf8_lossy(body);
    if mode.tracked {
        return format!("id: {cursor}\n{body}\n").into();
    }
    format!("id:\n{body}\nevent: ping\nid: {cursor}\ndata: \n\n").into()
}

fn value(mode: Mode, data: &Value) -> String {
    let data = if mode.superjson { json!({ "json": data }) } else { data.clone() };
    format!("data: {data}\n")
}

/// The first thing a subscription says. A client that hears nothing for `silence` takes the line for dead and makes a
/// new one, with the last id of a value in its input. In bare mode values have no ids, so it must not: there the
/// `EventSource` itself comes back with the position.
pub(crate) fn connected(mode: Mode, silence: Duration) -> Bytes {
    let options = if mode.tracked {
        json!({ "reconnectAfterInactivityMs": silence.as_millis() as u64 })
    } else {
        json!({})
    };
    format!("event: connected\ndata: {options}\n\n").into()
}

/// A gap as a value of its own type, which handlers of calls pass over. It has its position like any other, or the
/// client would come back with none and lose what has come meanwhile.
pub(crate) fn gap(mode: Mode, gap: &Value, cursor: &str) -> Bytes {
    let mut data = gap.clone();
    data["type"] = json!("throughline:gap");
    finish_event(mode, &value(mode, &data).into(), cursor)
}

pub(crate) fn position(cursor: &str) -> Bytes {
    format!("event: ping\nid: {cursor}\ndata: \n\n").into()
}

/// A refusal as tRPC tells it; the hook fails for good, except for `INTERNAL_SERVER_ERROR`, which it retries.
pub(crate) fn error(mode: Mode, code: ErrorCode, message: &str, path: &str) -> Bytes {
    let (number, name, status) = match code {
        ErrorCode::Unauthorized => (-32_001, "UNAUTHORIZED", 401),
        ErrorCode::Forbidden => (-32_003, "FORBIDDEN", 403),
        ErrorCode::Unavailable => (-32_603, "INTERNAL_SERVER_ERROR", 500),
    };
    let error = json!({
        "message": message,
        "code": number,
        "data": { "code": name, "httpStatus": status, "path": path },
    });
    format!("event: serialized-error\n{}\n", value(mode, &error)).into()
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ErrorCode {
    Unauthorized,
    Forbidden,
    Unavailable,
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: Mode = Mode { superjson: false, tracked: false };

    #[test]
    fn a_bare_value_has_an_empty_id_and_its_position_behind_it() {
        let body: Bytes = value(BARE, &json!({ "type": "live_call" })).into();
        let block = finish_event(BARE, &body, "c1");
        assert_eq!(block, "id:\ndata: {\"type\":\"live_call\"}\n\nevent: ping\nid: c1\ndata: \n\n");
    }

    #[test]
    fn a_gap_keeps_a_position_in_both_modes() {
        let told = |mode| {
            let gap = gap(mode, &json!({ "reason": "expired" }), "c1");
            String::from_utf8_lossy(&gap).into_owned()
        };
        let data = "data: {\"reason\":\"expired\",\"type\":\"throughline:gap\"}\n\n";
        assert_eq!(told(BARE), format!("id:\n{data}event: ping\nid: c1\ndata: \n\n"));
        assert_eq!(told(Mode { tracked: true, ..BARE }), format!("id: c1\n{data}"));
    }

    #[test]
    fn a_silent_line_is_given_up_only_where_the_client_knows_its_position() {
        let said =
            |mode| String::from_utf8_lossy(&connected(mode, Duration::from_secs(45))).into_owned();
        assert_eq!(said(BARE), "event: connected\ndata: {}\n\n");
        assert!(
            said(Mode { tracked: true, ..BARE }).contains("\"reconnectAfterInactivityMs\":45000")
        );
    }

    #[test]
    fn a_tracked_value_carries_its_position_and_superjson_is_wrapped() {
        let mode = Mode { superjson: true, tracked: true };
        let body: Bytes = value(mode, &json!(1)).into();
        assert_eq!(finish_event(mode, &body, "c1"), "id: c1\ndata: {\"json\":1}\n\n");
    }
}

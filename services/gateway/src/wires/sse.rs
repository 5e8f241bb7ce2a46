//! Server-sent events (WHATWG): `id:` the cursor, `event:` the wire name, `data:` the JSON.

use bytes::Bytes;
use serde_json::Value;

use crate::entry::{Entry, Variant};

/// Keeps proxies and browsers from giving an idle connection up.
pub(crate) const COMMENT: &[u8] = b": still here\n\n";

pub(super) fn event_body(entry: &Entry, variant: &Variant) -> Bytes {
    let data = entry.data();
    let data = String::from_utf8_lossy(&data);
    block(&variant.name, &data).into()
}

pub(super) fn finish_event(body: &Bytes, cursor: &str) -> Bytes {
    let mut out = Vec::with_capacity(body.len() + cursor.len() + 5);
    out.extend(b"id: ");
    out.extend(cursor.as_bytes());
    out.push(b'\n');
    out.extend(body);
    out.into()
}

/// A block that is no event of the log.
pub(crate) fn message(event: &str, data: &Value) -> Bytes {
    block(event, &data.to_string()).into()
}

/// Moves the client's position without an event.
pub(crate) fn position(cursor: &str) -> Bytes {
    format!("id: {cursor}\n\n").into()
}

/// Tells the client how long to wait before it reconnects.
pub(crate) fn retry(milliseconds: u64) -> Bytes {
    format!("retry: {milliseconds}\n\n").into()
}

fn block(event: &str, data: &str) -> String {
    let mut out = String::with_capacity(event.len() + data.len() + 20);
    out.push_str("event: ");
    out.push_str(event);
    out.push('\n');
    for line in data.split('\n') {
        out.push_str("data: ");
        out.push_str(line);
        out.push('\n');
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_over_several_lines_stays_one_event() {
        assert_eq!(block("call_update", "{\n}"), "event: call_update\ndata: {\ndata: }\n\n");
    }
}

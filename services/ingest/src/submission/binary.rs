//! CloudEvents in binary mode: attributes in `ce-*` headers, the data as the body.

use super::text::{comma_separated, from_bytes, header_text};
use super::{Header, Required, Submission, Unreadable, complete, time};

/// Reads an event whose attributes stand in headers, of an HTTP request or of a NATS message.
pub(crate) fn from_headers(
    header: Header<'_>,
    body: &[u8],
    required: Required,
) -> Result<Submission, Unreadable> {
    let attribute = |name: &str| -> Result<Option<String>, Unreadable> {
        header(&format!("ce-{name}")).map(|value| header_text(name, value)).transpose()
    };
    match attribute("specversion")?.as_deref() {
        Some("1.0") => {}
        None if required == Required::FilledIn => {}
        _ => return Err(Unreadable::attribute("specversion", "must be 1.0")),
    }
    let submission = Submission {
        event_type: attribute("type")?,
        id: attribute("id")?,
        source: attribute("source")?,
        time: attribute("time")?.as_deref().map(time).transpose()?,
        audience: attribute("audience")?.as_deref().map(comma_separated).unwrap_or_default(),
        correlation_id: attribute("correlationid")?,
        causation_id: attribute("causationid")?,
        data: from_bytes(body, header("content-type"))?,
    };
    complete(submission, required)
}

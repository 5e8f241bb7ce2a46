//! Texts of attributes: percent-encoded header values, lists with commas, binary data as base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Unreadable;

/// A CloudEvents header value: a quoted string is unquoted first, then percent-decoded once.
pub(super) fn header_text(name: &str, value: &[u8]) -> Result<String, Unreadable> {
    let unquoted = unquote(value);
    let bytes = percent_encoding::percent_decode(unquoted.as_deref().unwrap_or(value));
    let text = bytes.decode_utf8().map_err(|_| Unreadable::attribute(name, "is not UTF-8"))?;
    if text.is_empty() {
        return Err(Unreadable::attribute(name, "must not be empty"));
    }
    Ok(text.into_owned())
}

fn unquote(value: &[u8]) -> Option<Vec<u8>> {
    let inner = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let mut text = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        text.push(if byte == b'\\' { *bytes.next().unwrap_or(&byte) } else { byte });
    }
    Some(text)
}

pub(super) fn comma_separated(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect()
}

pub(super) fn is_json(content_type: Option<&[u8]>) -> bool {
    let Some(content_type) = content_type else { return true };
    let media = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    let media = media.trim_ascii().to_ascii_lowercase();
    media.is_empty() || media.ends_with(b"/json") || media.ends_with(b"+json")
}

/// The data of an event whose payload is bytes: JSON is read, anything else stays base64 in an object.
pub(super) fn from_bytes(bytes: &[u8], content_type: Option<&[u8]>) -> Result<Value, Unreadable> {
    match (bytes.is_empty(), is_json(content_type)) {
        (true, _) => Ok(json!({})),
        (false, true) => super::json(bytes),
        (false, false) => Ok(json!({ "data_base64": STANDARD.encode(bytes) })),
    }
}

pub(super) fn from_base64(
    encoded: String,
    content_type: Option<&[u8]>,
) -> Result<Value, Unreadable> {
    let refused = |_| Unreadable::attribute("data_base64", "is not base64");
    let bytes = STANDARD.decode(&encoded).map_err(refused)?;
    if content_type.is_some() && is_json(content_type) {
        return super::json(&bytes);
    }
    Ok(json!({ "data_base64": encoded }))
}

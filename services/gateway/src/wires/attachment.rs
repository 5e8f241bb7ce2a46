//! Bytes that stand in an event's data as base64 and go beside its text on wires that carry binary.

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut as _, Bytes, BytesMut};
use serde_json::value::RawValue;

use super::websocket_frame::{Opcode, frame};

/// A body that starts with this holds the text's length, the text, and the bytes. No text starts so.
const WITH_ATTACHMENT: u8 = 0;

/// The body of a text with bytes behind it.
pub(super) fn body(text: &[u8], bytes: &[u8]) -> Bytes {
    let mut body = BytesMut::with_capacity(text.len() + bytes.len() + 5);
    body.put_u8(WITH_ATTACHMENT);
    body.put_u32(text.len() as u32);
    body.put_slice(text);
    body.put_slice(bytes);
    body.freeze()
}

/// The frames of a body whose text goes on with the cursor and `end`: the text, and the bytes where it has some.
pub(super) fn finish(body: &[u8], cursor: &str, end: &[u8]) -> Bytes {
    let text = |text| frame(Opcode::Text, &[text, cursor.as_bytes(), end]);
    let Some((before, bytes)) = split(body) else { return text(body) };
    let text = text(before);
    let bytes = frame(Opcode::Binary, &[bytes]);
    let mut both = BytesMut::with_capacity(text.len() + bytes.len());
    both.put(text);
    both.put(bytes);
    both.freeze()
}

fn split(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = body.strip_prefix(&[WITH_ATTACHMENT])?.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}

/// A field of the data as it stands there.
pub(super) fn field_of<'a>(data: &'a [u8], field: &str) -> Option<&'a str> {
    let fields: HashMap<String, &RawValue> = serde_json::from_slice(data).ok()?;
    fields.get(field).map(|value| value.get())
}

/// The bytes that a field holds.
pub(super) fn bytes_of(data: &[u8], field: &str) -> Option<Vec<u8>> {
    let encoded: String = serde_json::from_str(field_of(data, field)?).ok()?;
    STANDARD.decode(encoded).ok()
}

/// The data without a field.
pub(super) fn without(data: &[u8], field: &str) -> Option<Vec<u8>> {
    let mut fields: BTreeMap<String, &RawValue> = serde_json::from_slice(data).ok()?;
    fields.remove(field);
    serde_json::to_vec(&fields).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_follow_the_text_in_a_frame_of_their_own() {
        let data = br#"{"last":true,"data_base64":"AQIDBA==","index":0}"#;
        let rest = without(data, "data_base64").unwrap();
        assert_eq!(rest, br#"{"index":0,"last":true}"#);
        let bytes = bytes_of(data, "data_base64").unwrap();
        let whole = finish(&body(&rest, &bytes), "c", b"}");
        assert_eq!(&whole[2..25], br#"{"index":0,"last":true}"#);
        assert_eq!(&whole[25..], [b'c', b'}', 0x82, 4, 1, 2, 3, 4]);
        assert_eq!(&finish(b"text", "c", b"}")[2..], b"textc}");
    }
}

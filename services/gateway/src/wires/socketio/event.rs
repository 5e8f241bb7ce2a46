//! An event of the log as `42["<wire name>",<data>,"<cursor>"]`, in the form that the catalogue gives its data.
//! The last argument is always a cursor: stock clients keep it as their offset.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut as _, Bytes, BytesMut};
use domain::catalogue::WireForm;
use serde_json::value::RawValue;

use crate::entry::{Entry, Variant};
use crate::wires::websocket_frame::{Opcode, frame};

/// A body that starts with this holds the text's length, the text, and an attachment.
const WITH_ATTACHMENT: u8 = 0;
const END: &[u8] = b"\"]";

pub(in crate::wires) fn event_body(entry: &Entry, variant: &Variant) -> Bytes {
    let data = &*entry.data();
    match &entry.form {
        WireForm::Object | WireForm::Message => text_body(&variant.name, data),
        WireForm::Field(field) | WireForm::List(field) => {
            text_body(&variant.name, field_of(data, field).map_or(data, str::as_bytes))
        }
        WireForm::Binary(field) => match attachment(data, field) {
            Some(bytes) => binary_body(&variant.name, &bytes),
            None => text_body(&variant.name, data),
        },
    }
}

pub(in crate::wires) fn finish_event(body: &Bytes, cursor: &str) -> Bytes {
    let Some(rest) = body.strip_prefix(&[WITH_ATTACHMENT]) else {
        return frame(Opcode::Text, &[body, cursor.as_bytes(), END]);
    };
    let Some((length, rest)) = rest.split_first_chunk::<4>() else { return Bytes::new() };
    let Some((text, bytes)) = rest.split_at_checked(u32::from_be_bytes(*length) as usize) else {
        return Bytes::new();
    };
    let text = frame(Opcode::Text, &[text, cursor.as_bytes(), END]);
    let bytes = frame(Opcode::Binary, &[bytes]);
    let mut both = BytesMut::with_capacity(text.len() + bytes.len());
    both.put(text);
    both.put(bytes);
    both.freeze()
}

fn text_body(name: &str, data: &[u8]) -> Bytes {
    let mut body = Vec::with_capacity(data.len() + name.len() + 16);
    body.extend(b"42[");
    push_string(&mut body, name);
    body.push(b',');
    body.extend(data);
    body.extend(b",\"");
    body.into()
}

fn binary_body(name: &str, bytes: &[u8]) -> Bytes {
    let mut text = Vec::with_capacity(name.len() + 64);
    text.extend(b"451-[");
    push_string(&mut text, name);
    text.extend(br#",{"_placeholder":true,"num":0},""#);
    let mut body = BytesMut::with_capacity(text.len() + bytes.len() + 5);
    body.put_u8(WITH_ATTACHMENT);
    body.put_u32(text.len() as u32);
    body.put_slice(&text);
    body.put_slice(bytes);
    body.freeze()
}

fn push_string(out: &mut Vec<u8>, text: &str) {
    // Writing a string to a vector cannot fail.
    let _ = serde_json::to_writer(out, text);
}

/// A field of the data as it stands there.
fn field_of<'a>(data: &'a [u8], field: &str) -> Option<&'a str> {
    let fields: HashMap<String, &RawValue> = serde_json::from_slice(data).ok()?;
    fields.get(field).map(|value| value.get())
}

fn attachment(data: &[u8], field: &str) -> Option<Vec<u8>> {
    let encoded: String = serde_json::from_str(field_of(data, field)?).ok()?;
    STANDARD.decode(encoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_ends_in_its_cursor() {
        let body = text_body("call_update", br#"{"callSid":"CA1"}"#);
        let whole = finish_event(&body, "abc");
        assert_eq!(&whole[2..], br#"42["call_update",{"callSid":"CA1"},"abc"]"#);
        assert_eq!(usize::from(whole[1]), whole.len() - 2);
    }

    #[test]
    fn a_field_stands_alone_where_the_catalogue_says_so() {
        let data = br#"{"timestamp":"t","notificationId":"n 1","calls":[1,{"a":2}]}"#;
        assert_eq!(field_of(data, "notificationId"), Some(r#""n 1""#));
        assert_eq!(field_of(data, "calls"), Some(r#"[1,{"a":2}]"#));
        assert_eq!(field_of(data, "other"), None);
    }

    #[test]
    fn bytes_follow_their_event_as_an_attachment() {
        let data = br#"{"data_base64":"AQIDBA=="}"#;
        let bytes = attachment(data, "data_base64").unwrap();
        let whole = finish_event(&binary_body("voice:audio", &bytes), "abc");
        let text = br#"451-["voice:audio",{"_placeholder":true,"num":0},"abc"]"#;
        assert_eq!(&whole[2..2 + text.len()], text);
        assert_eq!(&whole[2 + text.len()..], [0x82, 4, 1, 2, 3, 4]);
    }
}

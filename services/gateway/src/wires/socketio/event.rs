//! An event of the log as `42["<wire name>",<data>,"<cursor>"]`, in the form that the catalogue gives its data.
//! The last argument is always a cursor: stock clients keep it as their offset.

use bytes::Bytes;
use domain::catalogue::WireForm;

use crate::entry::{Entry, Variant};
use crate::wires::attachment::{self, bytes_of, field_of};

const END: &[u8] = b"\"]";

pub(in crate::wires) fn event_body(entry: &Entry, variant: &Variant) -> Bytes {
    let data = &*entry.data();
    match &entry.form {
        WireForm::Object | WireForm::Message => text_body(&variant.name, data),
        WireForm::Field(field) | WireForm::List(field) => {
            text_body(&variant.name, field_of(data, field).map_or(data, str::as_bytes))
        }
        WireForm::Binary(field) => match bytes_of(data, field) {
            Some(bytes) => binary_body(&variant.name, &bytes),
            None => text_body(&variant.name, data),
        },
    }
}

pub(in crate::wires) fn finish_event(body: &Bytes, cursor: &str) -> Bytes {
    attachment::finish(body, cursor, END)
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
    attachment::body(&text, bytes)
}

fn push_string(out: &mut Vec<u8>, text: &str) {
    // Writing a string to a vector cannot fail.
    let _ = serde_json::to_writer(out, text);
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
        let bytes = bytes_of(data, "data_base64").unwrap();
        let whole = finish_event(&binary_body("voice:audio", &bytes), "abc");
        let text = br#"451-["voice:audio",{"_placeholder":true,"num":0},"abc"]"#;
        assert_eq!(&whole[2..2 + text.len()], text);
        assert_eq!(&whole[2 + text.len()..], [0x82, 4, 1, 2, 3, 4]);
    }
}

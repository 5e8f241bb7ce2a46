use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::wires::websocket_frame::{Opcode, frame};

fn asked(query: &[(&str, &str)], is_get: bool, is_upgrade: bool) -> Result<Asked, Refusal> {
    let field = |name: &str| {
        let found = query.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Asked::read(field, is_get, is_upgrade)
}

#[test]
fn each_fault_of_a_request_has_its_number() {
    let polling = [("EIO", "4"), ("transport", "polling")];
    let check = |query: &[(&str, &str)], is_get, is_upgrade| {
        asked(query, is_get, is_upgrade).map_err(Refusal::code)
    };
    assert_eq!(check(&[("EIO", "4")], true, false), Err(0));
    assert_eq!(check(&[("EIO", "4"), ("transport", "abc")], true, false), Err(0));
    assert_eq!(check(&polling, false, false), Err(2));
    assert_eq!(check(&polling, true, true), Err(3));
    assert_eq!(check(&[("EIO", "4"), ("transport", "websocket")], true, false), Err(3));
    assert_eq!(check(&[("EIO", "3"), ("transport", "polling")], true, false), Err(5));
    assert_eq!(check(&[("transport", "polling")], true, false), Err(5));
    let opened = Asked { transport: Transport::Polling, sid: None };
    assert_eq!(check(&polling, true, false), Ok(opened));
    let body: Value = serde_json::from_str(&Refusal::UnknownSession.body()).unwrap();
    assert_eq!(body, serde_json::json!({ "code": 1, "message": "Session ID unknown" }));
}

#[test]
fn the_open_packet_has_exactly_the_five_keys() {
    let terms = Terms { ping_interval_ms: 25_000, ping_timeout_ms: 20_000, max_payload: 1_000_000 };
    assert_eq!(
        open("abc", true, terms),
        r#"0{"sid":"abc","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#
    );
    assert!(open("abc", false, terms).contains(r#""upgrades":[]"#));
}

#[test]
fn packets_are_read_and_what_is_none_is_refused() {
    let text = |text: &str| Packet::decode(text.to_owned());
    assert_eq!(text("4hello"), Ok(Packet::Message(Message::Text("hello".into()))));
    assert_eq!(text("2probe"), Ok(Packet::Ping("probe".into())));
    assert_eq!(text("3"), Ok(Packet::Pong));
    assert_eq!(text("1"), Ok(Packet::Close));
    for malformed in ["", "7", "abc", "é", "\u{1e}"] {
        assert_eq!(text(malformed), Err(Malformed), "{malformed}");
    }
}

#[test]
fn a_payload_holds_text_and_binary_packets() {
    let read: Result<Vec<_>, _> = packets("4a\u{1e}bAQIDBA==\u{1e}3").collect();
    let binary = Bytes::from_static(&[1, 2, 3, 4]);
    let expected = vec![
        Packet::Message(Message::Text("a".into())),
        Packet::Message(Message::Binary(binary)),
        Packet::Pong,
    ];
    assert_eq!(read, Ok(expected));
    assert!(packets("4a\u{1e}b!").any(|packet| packet == Err(Malformed)));
    assert!(packets("").any(|packet| packet == Err(Malformed)));
}

#[test]
fn a_poll_takes_what_waits_up_to_its_limit() {
    let text = |text: &str| frame(Opcode::Text, &[text.as_bytes()]);
    let both = [text("451-[]").to_vec(), frame(Opcode::Binary, &[&[1, 2, 3, 4]]).to_vec()].concat();
    let mut frames = vec![text("40{}"), Bytes::from(both), text("2")];
    assert_eq!(poll_payload(&mut frames, 1_000), "40{}\u{1e}451-[]\u{1e}bAQIDBA==\u{1e}2");
    assert!(frames.is_empty());

    let long = "4".repeat(70_000);
    let mut frames = vec![text("4a"), text(&long), text("4b")];
    assert_eq!(poll_payload(&mut frames, 100), "4a");
    assert_eq!(poll_payload(&mut frames, 100).len(), 70_000);
    assert_eq!(poll_payload(&mut frames, 100), "4b");
}

proptest! {
    #[test]
    fn nothing_that_is_posted_panics(payload in "\\PC{0,40}|[0-9b\u{1e}a-zA-Z=/+é]{0,40}") {
        for packet in packets(&payload) {
            drop(packet);
        }
    }

    #[test]
    fn what_is_framed_comes_out_of_a_poll_as_it_was(
        messages in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..300)), 1..8)
    ) {
        let mut frames: Vec<Bytes> = messages
            .iter()
            .map(|(is_binary, bytes)| {
                if *is_binary {
                    frame(Opcode::Binary, &[bytes])
                } else {
                    frame(Opcode::Text, &[b"4", hex(bytes).as_bytes()])
                }
            })
            .collect();
        let payload = poll_payload(&mut frames, usize::MAX / 2);
        let read: Vec<_> = packets(std::str::from_utf8(&payload).unwrap()).collect();
        let expected: Vec<_> = messages
            .iter()
            .map(|(is_binary, bytes)| {
                let message = if *is_binary {
                    Message::Binary(bytes.clone().into())
                } else {
                    Message::Text(hex(bytes))
                };
                Ok(Packet::Message(message))
            })
            .collect();
        prop_assert_eq!(read, expected);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

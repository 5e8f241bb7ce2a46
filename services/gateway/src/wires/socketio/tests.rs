use proptest::prelude::*;
use serde_json::json;

use super::*;

fn new_decoder() -> Decoder {
    Decoder::new(1_000)
}

fn anywhere(_: &str) -> bool {
    true
}

#[track_caller]
fn packet_of(text: &str) -> Packet {
    new_decoder().text(text, anywhere).unwrap().unwrap()
}

#[track_caller]
fn event_of(text: &str) -> Event {
    match packet_of(text).body {
        Body::Event(event) => event,
        body => panic!("{body:?}"),
    }
}

fn fault(text: &str) -> Fault {
    new_decoder().text(text, anywhere).unwrap_err()
}

#[test]
fn a_connect_may_leave_out_what_it_does_not_need() {
    for (text, namespace, auth) in [
        ("0", "/", json!({})),
        (r#"0{"token":"t"}"#, "/", json!({ "token": "t" })),
        ("0/custom", "/custom", json!({})),
        ("0/custom,", "/custom", json!({})),
        (r#"0/custom,{"a":1}"#, "/custom", json!({ "a": 1 })),
    ] {
        let packet = packet_of(text);
        assert_eq!((&*packet.namespace, packet.body), (namespace, Body::Connect(auth)), "{text}");
    }
    for text in ["0[]", "0\"t\"", "0{"] {
        assert_eq!(fault(text), Fault::Payload, "{text}");
    }
}

#[test]
fn a_text_that_was_cut_in_the_middle_of_a_character_ends_no_connection() {
    let event = event_of(r#"27["publish","\ud83d"]"#);
    assert_eq!((event.id, &event.arguments), (Some(7), &vec![json!("\u{fffd}")]));
}

#[test]
fn events_have_a_name_arguments_and_perhaps_an_id() {
    let event = event_of(r#"2["message",1,"2",{"3":[false]}]"#);
    assert_eq!((&*event.name, event.id), ("message", None));
    assert_eq!(event.arguments, [json!(1), json!("2"), json!({ "3": [false] })]);
    assert_eq!(event_of(r#"2456["ping"]"#).id, Some(456));
    assert_eq!(event_of("2[7,1]").name, "7");
    let packet = packet_of(r#"2/custom,456["message-with-ack"]"#);
    assert_eq!(packet.namespace, "/custom");
    assert_eq!(packet_of("1").body, Body::Disconnect);
    assert_eq!(packet_of("1/custom,").namespace, "/custom");
    assert_eq!(packet_of("37[]").body, Body::Ack);
}

#[test]
fn what_breaks_the_protocol_is_a_fault() {
    for text in ["", "7", "abc", "é", "4{}"] {
        assert_eq!(fault(text), Fault::Type, "{text}");
    }
    for text in ["2", "2{}", "2[]", "2[{}]", "2abc", "21", "2\"a\"", "3{}", "3", "1{}", "2[null]"] {
        assert_eq!(fault(text), Fault::Payload, "{text}");
    }
    for name in RESERVED {
        assert_eq!(fault(&format!(r#"2["{name}"]"#)), Fault::Reserved);
    }
    for text in
        ["5[]", "511-[\"a\"]", "5-[\"a\"]", "51.5-[\"a\"]", "5é-[]", "5-1-[\"a\"]", "5+1-[]"]
    {
        assert_eq!(fault(text), Fault::Attachments, "{text}");
    }
    assert_eq!(fault("299999999999999999999999[\"a\"]"), Fault::AckId);
    assert_eq!(fault(&format!("2[\"a\",{}", "[".repeat(100_000))), Fault::Payload);
}

#[test]
fn an_event_waits_for_its_attachments() {
    let text = r#"52-789["m",{"_placeholder":true,"num":0},[{"_placeholder":true,"num":1}]]"#;
    let mut decoder = new_decoder();
    assert_eq!(decoder.text(text, anywhere), Ok(None));
    assert_eq!(decoder.binary(Bytes::from_static(b"a")), Ok(None));
    let packet = decoder.binary(Bytes::from_static(b"b")).unwrap().unwrap();
    let Body::Event(event) = packet.body else { panic!("{packet:?}") };
    assert_eq!((&*event.name, event.id, event.attachments.len()), ("m", Some(789), 2));
    assert_eq!(decoder.text(r#"2["next"]"#, anywhere).map(|packet| packet.is_some()), Ok(true));
    assert_eq!(event_of(r#"50-["none"]"#).attachments, Vec::<Bytes>::new());
}

#[test]
fn text_and_attachments_come_only_when_they_are_due() {
    assert_eq!(new_decoder().binary(Bytes::new()), Err(Fault::BinaryDue));
    let mut decoder = new_decoder();
    assert_eq!(decoder.text(r#"51-["m",{"_placeholder":true,"num":0}]"#, anywhere), Ok(None));
    assert_eq!(decoder.text(r#"2["m"]"#, anywhere), Err(Fault::TextDue));
    let mut decoder = new_decoder();
    assert_eq!(decoder.text(r#"51-["m",{"_placeholder":true,"num":1}]"#, anywhere), Ok(None));
    assert_eq!(decoder.binary(Bytes::new()), Err(Fault::Attachments));
    assert_eq!(new_decoder().text(r#"51-["connect"]"#, anywhere), Err(Fault::Reserved));
}

#[test]
fn nothing_is_kept_for_a_namespace_that_the_client_is_not_in() {
    let mut decoder = new_decoder();
    let announced = r#"51-["m",{"_placeholder":true,"num":0}]"#;
    assert_eq!(decoder.text(announced, |name| name != MAIN), Err(Fault::NotConnected));
    assert_eq!(decoder.binary(Bytes::from_static(b"a")), Err(Fault::BinaryDue));
    assert_eq!(decoder.text(r#"2["m"]"#, |_| false).map(|packet| packet.is_some()), Ok(true));
}

#[test]
fn the_attachments_of_a_packet_have_one_limit_together() {
    let announced = r#"53-["m",{"_placeholder":true,"num":0}]"#;
    let mut decoder = new_decoder();
    assert_eq!(decoder.text(announced, anywhere), Ok(None));
    assert_eq!(decoder.binary(Bytes::from(vec![0; 500])), Ok(None));
    assert_eq!(decoder.binary(Bytes::from(vec![0; 500])), Err(Fault::TooLong));
    assert_eq!(decoder.binary(Bytes::new()), Err(Fault::BinaryDue), "and nothing is kept");
}

#[test]
fn what_the_server_says_is_framed_text() {
    let text = |frame: &Bytes| String::from_utf8(frame[2..].to_vec()).unwrap();
    assert_eq!(text(&connected("/", "s", None)), r#"40{"sid":"s"}"#);
    assert_eq!(text(&connected("/custom", "s", Some("p"))), r#"40/custom,{"sid":"s","pid":"p"}"#);
    assert_eq!(
        text(&refused("/x", "Invalid namespace", None)),
        r#"44/x,{"message":"Invalid namespace"}"#
    );
    let said = event("/", "pong", &[json!({ "timestamp": 1 })], Some("c"));
    assert_eq!(text(&said), r#"42["pong",{"timestamp":1},"c"]"#);
    assert_eq!(text(&ack("/", 7, &[json!(1)], &[])[0]), "437[1]");
    let frames =
        ack("/", 7, &[json!({ "_placeholder": true, "num": 0 })], &[Bytes::from_static(b"a")]);
    assert_eq!(text(&frames[0]), r#"461-7[{"_placeholder":true,"num":0}]"#);
    assert_eq!(frames[1], frame(Opcode::Binary, &[b"a"]));
}

proptest! {
    #[test]
    fn nothing_that_a_client_sends_panics(
        messages in prop::collection::vec(prop_oneof![
            "\\PC{0,40}".prop_map(Err),
            "[0-6][0-9]{0,3}-?(/[a-z]{0,3},?)?[0-9]{0,3}[\\[\\]{}\":,a-z0-9é]{0,20}".prop_map(Err),
            prop::collection::vec(any::<u8>(), 0..8).prop_map(Ok),
        ], 1..6)
    ) {
        let mut decoder = new_decoder();
        for message in messages {
            let _packet = match message {
                Err(text) => decoder.text(&text, anywhere),
                Ok(bytes) => decoder.binary(bytes.into()),
            };
        }
    }

    #[test]
    fn an_event_is_read_as_it_was_written(
        name in "[a-z:é]{1,12}",
        text in "\\PC{0,20}",
        number in any::<i64>(),
        attachments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..=MAX_ATTACHMENTS),
    ) {
        prop_assume!(!RESERVED.contains(&&*name));
        let attachments: Vec<Bytes> = attachments.into_iter().map(Bytes::from).collect();
        let mut arguments = vec![json!({ "text": text, "number": number })];
        arguments.extend((0..attachments.len()).map(|n| json!({ "_placeholder": true, "num": n })));
        let mut frames = binary_event("/custom", &name, &arguments, &attachments);
        let payload = crate::wires::engineio::poll_payload(&mut frames, usize::MAX / 2);
        let mut decoder = new_decoder();
        let mut read = None;
        for packet in crate::wires::engineio::packets(std::str::from_utf8(&payload).unwrap()) {
            let crate::wires::engineio::Packet::Message(message) = packet.unwrap() else { panic!() };
            read = match message {
                crate::wires::engineio::Message::Text(text) => decoder.text(&text, anywhere).unwrap(),
                crate::wires::engineio::Message::Binary(bytes) => decoder.binary(bytes).unwrap(),
            };
        }
        let Some(Packet { namespace, body: Body::Event(read) }) = read else { panic!("{read:?}") };
        prop_assert_eq!(namespace, "/custom");
        prop_assert_eq!((read.name, read.arguments), (name, arguments));
        prop_assert_eq!((read.attachments, read.id), (attachments, None));
    }
}

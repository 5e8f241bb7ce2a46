use super::*;
use crate::providers::standard::map_event;

const CREATED: &[u8] = include_bytes!("../../../testdata/webhooks/standard-contact-created.json");

#[test]
fn the_sender_names_the_event_and_its_data() {
    let (observation, admitted) = one(map_event(CREATED, "msg_1"));
    assert_eq!(admitted.message_id, "acme:source:msg_1");
    assert_eq!(observation.event_type, "contact.created");
    assert_eq!(stored(&admitted)["timestamp"], "2022-11-03T20:26:10.344Z");
}

#[test]
fn other_bodies_are_unmappable() {
    let reason = |body: &str| map_event(body.as_bytes(), "msg_1").unwrap_err().reason;
    assert_eq!(reason("{"), "the body is not JSON");
    assert_eq!(reason("{}"), "type is missing");
    assert_eq!(reason(r#"{"type":"contact.created","data":[]}"#), "data is no object");
}

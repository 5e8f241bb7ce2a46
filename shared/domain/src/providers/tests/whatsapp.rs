use std::collections::HashMap;

use serde_json::json;

use super::*;
use crate::providers::whatsapp::*;

const MESSAGES: &[u8] = include_bytes!("../../../testdata/webhooks/whatsapp-messages.json");
const STATUSES: &[u8] = include_bytes!("../../../testdata/webhooks/whatsapp-statuses.json");

fn map(body: &[u8]) -> Mapped {
    let accounts = HashMap::from([("106540352242922".to_owned(), "account-7".to_owned())]);
    map_events(body, Owner { accounts: Some(&accounts), user: Some("7") })
}

#[test]
fn a_text_becomes_a_received_message_for_account_contact_and_owner() {
    let all = admitted(map(MESSAGES));
    let (observation, first) = &all[0];
    let id = "wamid.HBgLMTY1MDM4Nzk0MzkVAgASGBQzQTRBNjU5OUFFRTAzODEwMTQ0RgA=";
    assert_eq!(observation.key, id);
    assert_eq!(channels(first), ["whatsapp:account-7", "contact:16505551234", "user:7"]);
    let message = json!({
        "id": id, "contactId": "16505551234", "contactName": "Sheena Nelson", "whatsappAccountId": "account-7",
        "direction": "Inbound", "type": "Text", "content": "Does it come in another color? \u{e9}",
        "createdAt": "2025-06-08T20:59:43.000Z",
    });
    assert_eq!(stored(first)["message"], message);
    assert_eq!(stored(first)["timestamp"], "2025-06-08T20:59:43.000Z");
}

#[test]
fn every_kind_passes_with_what_it_says() {
    let all = admitted(map(MESSAGES));
    let said: Vec<_> = all
        .iter()
        .skip(1)
        .map(|(_, admitted)| {
            let message = &stored(admitted)["message"];
            let of = |name: &str| message[name].as_str().unwrap_or("").to_owned();
            [of("type"), of("content"), of("mediaUrl"), of("replyTo")]
        })
        .collect();
    let expected = [
        ["Image", "Taj Mahal", "media:1003383421387256", "wamid.QUOTED"],
        ["Sticker", "", "media:1908647269898587", ""],
        ["Reaction", "\u{1f600}", "", "wamid.SENT"],
        ["Location", "Main Street Beach (38.9806263495,-131.9428612257)", "", ""],
        ["Interactive", "Priority Mail Express", "", ""],
        ["Unsupported", "Message type is currently not supported.", "", ""],
    ];
    assert_eq!(said, expected.map(|row| row.map(str::to_owned)));
}

#[test]
fn a_status_is_told_as_a_change_and_by_its_name() {
    let all = admitted(map(STATUSES));
    let told: Vec<_> = all.iter().map(|(o, _)| (o.event_type.as_ref(), o.key.as_str())).collect();
    assert_eq!(
        told,
        [
            ("message.status.update", "wamid.SENT:sent:update"),
            ("message.status.update", "wamid.SENT:delivered:update"),
            ("message.delivered", "wamid.SENT:delivered"),
            ("message.status.update", "wamid.SENT:read:update"),
            ("message.read", "wamid.SENT:read"),
            ("message.status.update", "wamid.VOICE:played:update"),
            ("message.status.update", "wamid.LOST:failed:update"),
            ("message.failed", "wamid.LOST:failed"),
        ]
    );
    for (_, admitted) in &all {
        assert_eq!(channels(admitted), ["whatsapp:account-7", "contact:16505551234", "user:7"]);
    }
    assert_eq!(stored(&all[1].1)["status"], "Delivered");
    assert_eq!(stored(&all[2].1)["deliveredAt"], "2025-06-18T16:22:53.000Z");
    assert_eq!(stored(&all[5].1)["status"], "Played");
    assert_eq!(stored(&all[7].1)["error"], "Message Undeliverable.");
    assert_eq!(stored(&all[7].1)["errorCode"], 131026);
}

#[test]
fn a_status_names_the_campaign_that_its_message_was_sent_with() {
    let told = |given: &str| {
        let mut body: Value = serde_json::from_slice(STATUSES).unwrap();
        for status in body["entry"][0]["changes"][0]["value"]["statuses"].as_array_mut().unwrap() {
            status["biz_opaque_callback_data"] = json!(given);
        }
        let all = admitted(map(body.to_string().as_bytes()));
        [2, 4, 7].map(|at: usize| stored(&all[at].1)["campaignId"].clone())
    };
    assert_eq!(told("campaign:spring"), ["spring"; 3]);
    let long = format!("campaign:{}", "x".repeat(161));
    for other in ["spring", "campaign:", &long] {
        assert_eq!(told(other), [Value::Null, Value::Null, Value::Null], "{other}");
    }
}

#[test]
fn an_account_without_a_name_is_its_phone_number_id() {
    let all = admitted(map_events(STATUSES, Owner::default()));
    assert_eq!(channels(&all[0].1), ["whatsapp:106540352242922", "contact:16505551234"]);
}

#[test]
fn what_is_not_understood_leaves_the_rest() {
    let mut body: Value = serde_json::from_slice(STATUSES).unwrap();
    body["entry"][0]["changes"][0]["value"]["statuses"][0] = json!({"id": "wamid.X"});
    let unmappable = map(body.to_string().as_bytes()).unwrap_err();
    assert_eq!(unmappable.reason, "recipient_id is missing");
    assert_eq!(unmappable.understood.len(), 7);
    assert!(unmappable.understood.iter().all(|o| o.audience == ["7"]));
}

#[test]
fn other_bodies_are_unmappable() {
    let reason = |body: &str| map(body.as_bytes()).unwrap_err().reason;
    assert_eq!(reason("{}"), "object is not whatsapp_business_account");
    assert_eq!(reason(r#"{"object":"whatsapp_business_account"}"#), "there are no changes");
    let other = r#"{"object":"whatsapp_business_account","entry":[{"changes":[{"field":"account_update","value":{}}]}]}"#;
    assert_eq!(reason(other), "a change is of another field than messages");
}

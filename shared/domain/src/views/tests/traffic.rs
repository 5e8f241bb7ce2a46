//! Contacts and their messages, WhatsApp accounts, campaigns, agents and metrics.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::support::{Given, Table, given, includes};
use crate::views::find;

fn received() -> Given {
    let message = json!({ "id": "w1", "contactId": "14155551212", "contactName": "Maya", "whatsappAccountId": "a",
        "direction": "Inbound", "type": "Text", "content": "Hello", "createdAt": "2026-01-02T03:00:00Z" });
    given("message.received", 1, json!({ "message": message }))
}

fn sent() -> Given {
    let message = json!({ "id": "w2", "contactId": "14155551212", "whatsappAccountId": "a", "direction": "Outbound",
        "type": "Text", "content": "Hi", "status": "Sent", "campaignId": "spring" });
    given("message.sent", 2, json!({ "message": message }))
}

fn statuses() -> Vec<Given> {
    let of = |more: Value| {
        let mut data = json!({ "messageId": "w2", "contactId": "14155551212" });
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        data
    };
    vec![
        sent(),
        given("message.status.update", 3, of(json!({ "status": "Delivered" }))),
        given("message.delivered", 3, of(json!({ "deliveredAt": "2026-01-02T03:00:03Z" }))),
        given("message.read", 4, of(json!({ "readAt": "2026-01-02T03:00:04Z" }))),
        given("message.status.update", 2, of(json!({ "status": "Sent" }))),
    ]
}

#[test]
fn a_contact_has_its_details_and_its_messages() {
    let view = find("contacts").unwrap();
    let created = given(
        "contact.created",
        0,
        json!({ "contact": { "id": "14155551212", "name": "John", "phone": "+1 415 555 1212" } }),
    );
    let updated = given(
        "contact.updated",
        5,
        json!({ "contactId": "14155551212", "updates": { "name": "John Smith", "tags": ["vip"] } }),
    );
    let events = [&[created, received()][..], &statuses(), &[updated]].concat();
    let shown = Table::fold(view, &events).show(view, "14155551212");
    includes(&shown, json!({ "name": "John Smith", "phone": "+1 415 555 1212", "tags": ["vip"] }));
    let messages = shown["messages"].as_array().unwrap();
    includes(&messages[0], json!({ "id": "w1", "direction": "Inbound", "content": "Hello" }));
    includes(
        &messages[1],
        json!({ "id": "w2", "status": "Read", "readAt": "2026-01-02T03:00:04Z" }),
    );

    let deleted = given("contact.deleted", 6, json!({ "contactId": "14155551212" }));
    let events = [events, vec![deleted]].concat();
    let table = Table::fold(view, &events);
    assert!(table.listed(view).is_empty());
    assert_eq!(table.show(view, "14155551212"), Value::Null);
    assert_eq!(table, Table::default(), "nothing of it is left");
    let again = given(
        "contact.created",
        7,
        json!({ "contact": { "id": "14155551212", "name": "Somebody else" } }),
    );
    let shown = Table::fold(view, &[events, vec![again]].concat()).show(view, "14155551212");
    assert_eq!(shown["messages"], json!([]), "another's messages are not theirs");
}

#[test]
fn a_contact_is_found_by_the_last_ten_digits_of_its_number() {
    let view = find("contacts").unwrap();
    let found = |contact: Value| {
        let table =
            Table::fold(view, &[given("contact.created", 1, json!({ "contact": contact }))]);
        let head = table.0.values().next().unwrap();
        (view.found_by.unwrap())(head)
    };
    assert_eq!(
        found(json!({ "id": "c1", "phone": "+91 98765-43210" })).as_deref(),
        Some("9876543210")
    );
    assert_eq!(found(json!({ "id": "919876543210" })).as_deref(), Some("9876543210"));
    assert_eq!(found(json!({ "id": "c1", "phone": "12345" })), None);
    assert_eq!(found(json!({ "id": "c1" })), None);
    let sealed = "tl1.contact.c1.AAECAwQFBgcICQoL0123456789-abcdefghijklmnop";
    assert_eq!(found(json!({ "id": "c1", "phone": sealed })), None);
    let known_by_id = json!({ "id": "919876543210", "phone": sealed });
    assert_eq!(found(known_by_id).as_deref(), Some("9876543210"));
}

proptest! {
    #[test]
    fn a_message_ends_with_its_furthest_status(events in Just(statuses()).prop_shuffle()) {
        let view = find("contacts").unwrap();
        let shown = Table::fold(view, &events).show(view, "14155551212");
        prop_assert_eq!(&shown["messages"][0]["status"], "Read");
    }

    #[test]
    fn what_happened_last_to_an_account_or_agent_counts(order in Just(vec![0, 1, 2, 3]).prop_shuffle()) {
        let accounts = [
            given("whatsapp.qr.generated", 1, json!({ "accountId": "a", "qrCode": "x", "expiresAt": "y" })),
            given("whatsapp.ready", 2, json!({ "accountId": "a", "accountInfo": { "phoneNumber": "1", "displayName": "B" } })),
            given("whatsapp.connection.status", 3, json!({ "accountId": "a", "status": "Reconnecting", "message": "off" })),
            given("whatsapp.ready", 4, json!({ "accountId": "a", "accountInfo": { "phoneNumber": "2", "displayName": "B" } })),
        ];
        let agents = ["online", "busy", "away", "offline"].iter().enumerate().map(|(second, status)| {
            given("agent.status_change", second as u32, json!({ "agentId": "g", "status": status }))
        }).collect::<Vec<_>>();
        let view = find("whatsapp-accounts").unwrap();
        let shown = Table::fold(view, order.iter().map(|at| &accounts[*at])).show(view, "a");
        includes(&shown, json!({ "status": "Connected", "accountInfo": { "phoneNumber": "2", "displayName": "B" } }));
        prop_assert_eq!(&shown["qrCode"], &Value::Null);
        prop_assert_eq!(&shown["message"], &Value::Null);
        let view = find("agents").unwrap();
        let shown = Table::fold(view, order.iter().map(|at| &agents[*at])).show(view, "g");
        prop_assert_eq!(&shown["status"], "offline");
    }
}

#[test]
fn a_campaign_tells_how_far_it_is_and_how_it_ended() {
    let view = find("campaigns").unwrap();
    let of = |name: &str, second, more: Value| {
        let mut data = json!({ "campaignId": "spring" });
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        given(&format!("campaign.{name}"), second, data)
    };
    let progress =
        |sent| json!({ "progress": { "sent": sent, "total": 1000, "percentage": 1, "failed": 0 } });
    let events = [
        of("started", 1, json!({ "campaign": { "name": "Spring", "totalRecipients": 1000 } })),
        sent(),
        of("progress", 3, progress(200)),
        of("progress", 4, progress(100)),
        of("paused", 5, json!({ "pausedBy": "7" })),
        of("resumed", 6, json!({ "resumedBy": "7" })),
        of("completed", 7, json!({ "stats": { "sentCount": 995 } })),
        of("paused", 8, json!({})),
    ];
    let states =
        ["running", "running", "running", "running", "paused", "running", "completed", "completed"];
    for (count, state) in states.iter().enumerate() {
        let shown = Table::fold(view, &events[..=count]).show(view, "spring");
        assert_eq!(shown["state"], *state, "{count}");
    }
    let shown = Table::fold(view, &events).show(view, "spring");
    includes(&shown, json!({ "name": "Spring", "stats": { "sentCount": 995 } }));
    assert_eq!(shown["progress"]["sent"], 200, "progress does not go back");
    let late = |before: &[Given]| {
        let start = of("started", 9, json!({ "campaign": { "name": "S", "totalRecipients": 1 } }));
        let events: Vec<Given> = before.iter().cloned().chain([start]).collect();
        Table::fold(view, &events).show(view, "spring")["state"].clone()
    };
    assert_eq!(late(&events), "completed", "what is over stays over");
    assert_eq!(late(&events[..5]), "paused", "a start that comes late takes back no pause");
}

#[test]
fn what_became_of_a_campaigns_messages_is_counted_from_the_log() {
    let view = find("campaigns").unwrap();
    let of = |name: &str, second| {
        let data =
            json!({ "messageId": "w2", "campaignId": "spring", "error": "Message undeliverable" });
        given(&format!("message.{name}"), second, data)
    };
    let other = given("message.read", 6, json!({ "messageId": "w9" }));
    let again = Given { id: "again".to_owned(), ..sent() };
    let events = [sent(), again, of("delivered", 3), of("read", 4), of("failed", 5), other];
    let shown = Table::fold(view, &events).show(view, "spring");
    let counts = json!({ "sentCount": 2, "deliveredCount": 1, "readCount": 1, "failedCount": 1,
        "deliveryRate": 50, "readRate": 50 });
    assert_eq!(shown["statsInLog"], counts);
    let nothing = given("campaign.paused", 1, json!({ "campaignId": "spring" }));
    assert_eq!(Table::fold(view, [&nothing]).show(view, "spring")["statsInLog"], Value::Null);
}

#[test]
fn metrics_are_summed_by_day_and_asked_for_since_one() {
    let view = find("metrics").unwrap();
    let update = |day: u32, calls: u32, cost: f64| {
        let data = json!({ "type": "voice_call", "calls": calls, "cost": cost });
        let told = given("metric.update", 1, data);
        Given { time: format!("2026-01-{day:02}T03:00:00.000Z"), ..told }
    };
    let table = Table::fold(view, &[update(1, 10, 1.5), update(2, 20, 0.25), update(2, 5, 0.25)]);
    let all = table.show(view, "voice_call");
    includes(&all, json!({ "type": "voice_call", "calls": 5, "cost": 0.25, "updates": 3 }));
    assert_eq!(all["totals"], json!({ "calls": 35, "cost": 2 }));
    assert_eq!(all["days"][0]["day"], "2026-01-02");
    let since = table.show_since(view, "voice_call", Some("2026-01-02T12:00:00Z"));
    assert_eq!(since["totals"], json!({ "calls": 25, "cost": 0.5 }));
    assert_eq!(table.show_since(view, "voice_call", Some("2026-02-01")), Value::Null);
}

#[test]
fn calls_and_the_ai_are_counted_from_their_own_events() {
    let calls = find("call-metrics").unwrap();
    let update = |second, sid: &str, data: Value| {
        let mut whole = json!({ "callSid": sid });
        whole.as_object_mut().unwrap().extend(data.as_object().unwrap().clone());
        given("call.update", second, whole)
    };
    let events = [
        update(1, "a", json!({ "status": "ringing" })),
        update(2, "a", json!({ "status": "completed", "duration": 58 })),
        update(3, "b", json!({ "status": "busy" })),
        given(
            "call.completed",
            4,
            json!({ "callId": "k", "status": "Completed", "durationSeconds": 2 }),
        ),
    ];
    let shown = Table::fold(calls, &events).show(calls, "calls");
    includes(
        &shown,
        json!({ "type": "calls", "calls": 3, "completed": 2, "busy": 1, "duration": 60 }),
    );
    let ai = find("ai-metrics").unwrap();
    let usage =
        json!({ "conversationId": "c", "promptTokens": 120, "completionTokens": 48, "cost": 0.5 });
    let events = [given("ai.usage", 1, usage.clone()), given("ai.usage", 2, usage)];
    let shown = Table::fold(ai, &events).show(ai, "ai");
    includes(&shown, json!({ "promptTokens": 240, "completionTokens": 96, "cost": 1 }));
}

//! Conversations, sessions, alerts, deliveries and notifications.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::support::{Given, Table, given, includes};
use crate::views::find;

fn for_user(user: &str, kind: &str, second: u32, data: Value) -> Given {
    Given { channels: format!("user:{user}"), ..given(kind, second, data) }
}

#[test]
fn a_conversation_has_its_transcript_in_the_order_of_the_log() {
    let view = find("conversations").unwrap();
    let events = [
        given(
            "conversation.started",
            1,
            json!({ "conversationId": "c", "userId": "7", "avatarId": "maya" }),
        ),
        given(
            "conversation.message",
            2,
            json!({ "conversationId": "c", "userId": "7", "messageId": "m1", "message": "Hello" }),
        ),
        given(
            "ai.response",
            3,
            json!({ "conversationId": "c", "messageId": "m1", "response": "Good.", "crisis_detected": false }),
        ),
        given(
            "voice.transcription",
            4,
            json!({ "conversationId": "c", "chunkId": "v1", "text": "I slept" }),
        ),
        given("ai.attempt", 5, json!({ "conversationId": "c", "messageId": "m2" })),
        given(
            "conversation.ended",
            121,
            json!({ "conversationId": "c", "success": true, "duration": 120 }),
        ),
    ];
    let open = Table::fold(view, &events[..5]).show(view, "c");
    includes(&open, json!({ "state": "open", "userId": "7", "avatarId": "maya" }));
    let ended = Table::fold(view, &events).show(view, "c");
    includes(
        &ended,
        json!({ "state": "ended", "duration": 120, "startedAt": "2026-01-02T03:00:01.000Z" }),
    );
    let turns = ended["transcript"].as_array().unwrap();
    let said: Vec<_> =
        turns.iter().map(|turn| (turn["role"].as_str().unwrap(), &turn["text"])).collect();
    assert_eq!(
        said,
        [("user", &json!("Hello")), ("assistant", &json!("Good.")), ("user", &json!("I slept"))]
    );
}

#[test]
fn what_was_said_is_one_line_however_often_and_in_whichever_form_it_came() {
    let view = find("conversations").unwrap();
    let message = |second, id: &str, text: &str| {
        let data =
            json!({ "conversationId": "c", "userId": "7", "messageId": id, "message": text });
        given("conversation.message", second, data)
    };
    let of = |kind, second, id: &str, field: &str, text: &str| {
        let name = if kind == "voice.transcription" { "chunkId" } else { "messageId" };
        given(kind, second, json!({ "conversationId": "c", name: id, field: text }))
    };
    let events = [
        message(1, "m1", "Helo"),
        of("ai.failed", 2, "m1", "message", "Failed to get AI response"),
        message(3, "m1", "Hello"),
        of("ai.response", 4, "m1", "response", "Good."),
        message(5, "m1", "Hello, once more"),
        message(6, "voice-1", "I slept"),
        of("voice.transcription", 7, "voice-1", "text", "I slept"),
        of("ai.response", 8, "voice-1", "response", "Well?"),
        of("voice.transcription", 9, "voice-2", "text", "Yes"),
        message(10, "voice-2", "Yes"),
        of("voice.transcription", 11, "voice-3", "text", "It was over"),
        message(12, "m2", "Yes"),
    ];
    let shown = Table::fold(view, &events).show(view, "c");
    let turns = shown["transcript"].as_array().unwrap();
    let said: Vec<_> = turns
        .iter()
        .map(|it| [&it["role"], &it["text"], &it["messageId"], &it["chunkId"]].map(Value::as_str))
        .collect();
    let expected = [
        ["user", "Hello", "m1", ""],
        ["failure", "Failed to get AI response", "m1", ""],
        ["assistant", "Good.", "m1", ""],
        ["user", "I slept", "voice-1", "voice-1"],
        ["assistant", "Well?", "voice-1", ""],
        ["user", "Yes", "voice-2", "voice-2"],
        ["user", "It was over", "", "voice-3"],
        ["user", "Yes", "m2", ""],
    ];
    assert_eq!(said, expected.map(|line| line.map(|it| (!it.is_empty()).then_some(it))));
    assert_eq!(turns[0]["at"], "2026-01-02T03:00:01.000Z", "where it was said first");
}

#[test]
fn an_answer_is_in_the_transcript_wherever_its_service_puts_the_text() {
    let view = find("conversations").unwrap();
    let answers = [
        json!({ "message": { "role": "x" }, "reply": "Good." }),
        json!({ "message": "Good.", "content": "no" }),
        json!({ "text": "Good." }),
        json!({ "answer": "Good." }),
        json!({ "content": "Good." }),
        json!({ "response": "Good.", "message": "no" }),
    ];
    for mut data in answers {
        data["conversationId"] = json!("c");
        let shown = Table::fold(view, &[given("ai.response", 1, data.clone())]).show(view, "c");
        let turn = &shown["transcript"][0];
        assert_eq!(
            (&turn["role"], &turn["text"]),
            (&json!("assistant"), &json!("Good.")),
            "{data}"
        );
    }
}

#[test]
fn sessions_that_run_are_listed() {
    let view = find("sessions").unwrap();
    let session = |kind, second, id: &str| {
        given(kind, second, json!({ "conversationId": id, "userId": "7", "duration": 5 }))
    };
    let events = [
        session("session.started", 1, "a"),
        session("session.started", 2, "b"),
        session("session.update", 3, "b"),
        session("session.ended", 4, "a"),
        session("session.update", 5, "a"),
    ];
    let table = Table::fold(view, &events);
    assert_eq!(table.listed(view), ["b"]);
    includes(&table.show(view, "a"), json!({ "state": "ended", "duration": 5 }));
}

fn crisis(name: &str, second: u32, more: Value) -> Given {
    let mut data = json!({ "alertId": "c-1", "userId": "7", "conversationId": "c" });
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    given(&format!("crisis.{name}"), second, data)
}

fn alert() -> Vec<Given> {
    vec![
        crisis("alert", 1, json!({ "severity": "high", "signals": ["x"] })),
        crisis("escalated", 61, json!({ "tier": "manager", "step": 2 })),
        crisis("assigned", 70, json!({ "assignedTo": "1", "assignedBy": "1" })),
        crisis("reopened", 900, json!({ "round": 2 })),
        crisis("acknowledged", 910, json!({ "acknowledgedBy": "2", "round": 2 })),
        crisis("resolved", 920, json!({ "resolvedBy": "2", "notes": "Spoke." })),
    ]
}

#[test]
fn an_alert_is_open_until_it_is_resolved_and_has_a_history() {
    let view = find("alerts").unwrap();
    let events = alert();
    let states = ["open", "open", "assigned", "open", "acknowledged", "resolved"];
    for (count, state) in states.iter().enumerate() {
        let table = Table::fold(view, &events[..=count]);
        assert_eq!(table.show(view, "c-1")["state"], *state, "{count}");
        assert_eq!(table.listed(view).len(), usize::from(*state != "resolved"));
    }
    let taken = Table::fold(view, &events[..3]).show(view, "c-1");
    includes(
        &taken,
        json!({ "acknowledgedBy": "1", "assignedTo": "1", "tier": "manager", "step": 2 }),
    );
    let resolved = Table::fold(view, &events).show(view, "c-1");
    includes(
        &resolved,
        json!({ "acknowledgedBy": "2", "resolvedBy": "2", "notes": "Spoke.", "round": 2 }),
    );
    assert_eq!(resolved["assignedTo"], Value::Null, "it was taken from them");
    let kinds: Vec<_> =
        resolved["history"].as_array().unwrap().iter().map(|told| told["type"].clone()).collect();
    assert_eq!(kinds.len(), 6);
    assert_eq!((&kinds[0], &kinds[5]), (&json!("crisis.alert"), &json!("crisis.resolved")));
}

fn receipt(user: &str, device: &str, state: &str, at: &str) -> Value {
    receipt_of(7, user, device, state, at)
}

fn receipt_of(sequence: u64, user: &str, device: &str, state: &str, at: &str) -> Value {
    json!({ "event": format!("e{sequence}"), "sequence": sequence, "type": "crisis.alert", "alertId": "c-1",
        "userId": user, "device": device, "state": state, "at": format!("2026-01-02T03:00:{at}.000Z") })
}

fn proofs() -> Vec<Given> {
    let mut events = alert();
    let batches = [
        json!([receipt("1", "phone", "sent", "01"), receipt("2", "laptop", "sent", "02")]),
        json!([receipt("1", "phone", "received", "03"), receipt("1", "phone", "sent", "04")]),
        json!([{ "event": "e2", "type": "safety.state_change", "userId": "1", "device": "d", "state": "sent", "at": "x" }]),
    ];
    let told = batches.into_iter().enumerate();
    events.extend(told.map(|(n, receipts)| {
        given("crisis.receipts", n as u32, json!({ "gateway": "g", "receipts": receipts }))
    }));
    events.push(crisis("severity_raised", 61, json!({ "severity": "imminent" })));
    events.push(crisis(
        "page.failed",
        62,
        json!({ "pageId": "p", "tier": "manager", "step": 2, "attempts": 3, "error": "503" }),
    ));
    events
}

#[test]
fn who_was_sent_an_alert_and_who_handled_it_can_be_proved() {
    let view = find("deliveries").unwrap();
    let shown = Table::fold(view, &proofs()).show(view, "c-1");
    includes(
        &shown,
        json!({ "acknowledgedBy": "1", "acknowledgedAt": "2026-01-02T03:01:10.000Z",
            "assignedTo": "1", "resolvedBy": "2", "severity": "imminent" }),
    );
    let phone = &shown["deliveries"][0];
    includes(
        phone,
        json!({ "userId": "1", "device": "phone", "sentAt": "2026-01-02T03:00:01.000Z", "receivedAt": "2026-01-02T03:00:03.000Z" }),
    );
    assert_eq!(shown["deliveries"][1]["receivedAt"], Value::Null);
    includes(&shown["pages"][0], json!({ "pageId": "p", "state": "failed", "attempts": 3 }));
}

#[test]
fn the_severity_of_an_alert_is_what_was_found_last() {
    let view = find("deliveries").unwrap();
    let worse = crisis("severity_raised", 60, json!({ "severity": "imminent" }));
    let better = crisis("alert", 1, json!({ "severity": "moderate", "signals": ["x"] }));
    let shown = Table::fold(view, &[better, worse]).show(view, "c-1");
    includes(&shown, json!({ "severity": "imminent", "acknowledgedAt": null }));
}

#[test]
fn an_alert_has_all_its_signals_each_once_in_the_order_they_came() {
    let view = find("alerts").unwrap();
    let signals = |kind: &str, second: u32, signals: Value| {
        crisis(kind, second, json!({ "severity": "imminent", "signals": signals }))
    };
    let told = [
        signals("alert", 1, json!(["self-harm", { "word": "plan" }])),
        signals("severity_raised", 2, json!(["means", "self-harm", { "word": "plan" }, "means"])),
        crisis("severity_raised", 3, json!({ "severity": "imminent" })),
    ];
    let shown = Table::fold(view, &told).show(view, "c-1");
    assert_eq!(shown["signals"], json!(["self-harm", { "word": "plan" }, "means"]));
    let more: Vec<String> = (0..64).map(|n| n.to_string()).collect();
    let many = [told[0].clone(), signals("severity_raised", 2, json!(more))];
    let shown = Table::fold(view, &many).show(view, "c-1");
    assert_eq!(shown["signals"].as_array().unwrap().len(), 64, "what one event may have");
}

#[test]
fn what_a_device_is_known_of_does_not_grow_with_the_alerts_events() {
    let view = find("deliveries").unwrap();
    let told = |sequence: u64| {
        let at = format!("{sequence:02}");
        let receipts = json!([
            receipt_of(sequence, "1", "phone", "sent", &at),
            receipt_of(sequence, "1", "phone", "received", &at),
        ]);
        given("crisis.receipts", 1, json!({ "gateway": "g", "receipts": receipts }))
    };
    let events: Vec<_> = (10..50).map(told).collect();
    let table = Table::fold(view, &events);
    assert_eq!(table.0.len(), 2, "the alert, and the device: {table:?}");
    let shown = table.show(view, "c-1");
    let first = "2026-01-02T03:00:10.000Z";
    includes(
        &shown["deliveries"][0],
        json!({ "userId": "1", "device": "phone", "sentAt": first, "receivedAt": first,
            "sentUpTo": 49, "receivedUpTo": 49 }),
    );
}

proptest! {
    #[test]
    fn receipts_come_in_any_order_and_again(events in Just(proofs()).prop_shuffle(), again in 0..10usize) {
        let view = find("deliveries").unwrap();
        let repeated: Vec<Given> = events.iter().chain(&events[..again]).cloned().collect();
        prop_assert_eq!(Table::fold(view, &repeated), Table::fold(view, &proofs()));
    }
}

#[test]
fn what_was_read_on_one_device_is_read() {
    let view = find("notifications").unwrap();
    let new = |second, id: &str| {
        for_user("7", "notification.new", second, json!({ "id": id, "userId": "7", "title": id }))
    };
    let events = [
        new(1, "a"),
        new(2, "b"),
        new(2, "b"),
        for_user(
            "7",
            "notification.message",
            3,
            json!({ "id": "c", "message": "Hi", "userId": "7" }),
        ),
        for_user("7", "notification.read", 4, json!({ "notificationId": "a", "userId": "7" })),
    ];
    let shown = Table::fold(view, &events).show(view, "7");
    includes(&shown, json!({ "unread": 2, "count": 3 }));
    let ids: Vec<_> = shown["items"].as_array().unwrap().iter().map(|item| &item["id"]).collect();
    assert_eq!(ids, ["c", "b", "a"], "newest first");
    includes(&shown["items"][2], json!({ "read": true, "readAt": "2026-01-02T03:00:04.000Z" }));

    let all = for_user("7", "notification.all_read", 5, json!({ "userId": "7" }));
    let later = [&events[..], &[all, new(6, "d")]].concat();
    let shown = Table::fold(view, &later).show(view, "7");
    includes(&shown, json!({ "unread": 1, "count": 4 }));
}

#[test]
fn a_notification_is_for_everybody_in_its_audience_and_for_nobody_else() {
    let view = find("notifications").unwrap();
    let mut told = given("notification.new", 1, json!({ "id": "a", "title": "t" }));
    told.channels = "user:7,user:8".to_owned();
    let read =
        for_user("7", "notification.read", 2, json!({ "notificationId": "a", "userId": "7" }));
    let table = Table::fold(view, &[told, read]);
    assert_eq!(table.show(view, "7")["unread"], 0);
    assert_eq!(table.show(view, "8")["unread"], 1);
    assert_eq!(table.show(view, "9"), Value::Null);
}

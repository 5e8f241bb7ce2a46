use proptest::prelude::*;
use serde_json::json;

use super::support::{Given, Table, given, includes, twilio};
use crate::views::find;

fn course() -> Vec<Given> {
    let update = |second, data: serde_json::Value| given("call.update", second, data);
    let told = vec![
        twilio(1, 0, "initiated"),
        twilio(2, 1, "ringing"),
        twilio(5, 2, "in-progress"),
        twilio(65, 3, "completed"),
        update(6, json!({ "callSid": "CA1", "answeredBy": "machine_start" })),
        update(
            7,
            json!({ "callSid": "CA1", "answeredBy": "machine_end_beep", "detectionMillis": 900 }),
        ),
        update(
            8,
            json!({ "callSid": "CA1", "recording": { "sid": "RE1", "status": "in-progress" } }),
        ),
        update(
            70,
            json!({ "callSid": "CA1", "recording":
            { "sid": "RE1", "status": "completed", "url": "https://r/1", "duration": 60 } }),
        ),
        update(
            71,
            json!({ "callSid": "CA1", "quality": { "insight": "jitter", "edge": "carrier_edge", "level": "warning" } }),
        ),
        given(
            "call.quality",
            72,
            json!({ "callSid": "CA1", "insight": "m", "edge": "e", "metrics": { "jitter": 1 } }),
        ),
        given(
            "call.quality",
            73,
            json!({ "callSid": "CA1", "insight": "m", "edge": "e", "metrics": { "jitter": 2 } }),
        ),
        given(
            "call.transcription",
            10,
            json!({ "callSid": "CA1", "role": "agent", "text": "Good morning." }),
        ),
        given(
            "call.transcription",
            11,
            json!({ "callSid": "CA1", "role": "user", "text": "Hm", "final": false }),
        ),
        given(
            "call.transcription",
            80,
            json!({ "callSid": "CA1", "transcript": [{ "role": "agent", "text": "x" }], "summary": "s" }),
        ),
        given("call.note", 20, json!({ "callSid": "CA1", "text": "Call back", "by": "7" })),
        given("call.follow_up", 21, json!({ "callSid": "CA1", "dueAt": "2026-02-01T00:00:00Z" })),
        given("call.termination.requested", 60, json!({ "callSid": "CA1", "requestedBy": "7" })),
        given("call.termination.done", 61, json!({ "callSid": "CA1", "requestedBy": "7" })),
    ];
    [told, reported()].concat()
}

/// Another call, as CallerDesk tells of one.
fn reported() -> Vec<Given> {
    let live = json!({ "type": "live_call", "workspaceId": "w", "callId": "k1", "status": "Picked",
        "phoneNumber": "+91 98765 43210", "startTime": "2026-01-02T03:00:01.000Z" });
    let report = json!({ "type": "call_completed", "workspaceId": "w", "callId": "k1", "status": "No Answer",
        "duration": "0m 5s", "durationSeconds": 5, "phoneNumber": "09876543210",
        "startTime": "2026-01-02T03:00:01.000Z", "endTime": "2026-01-02T03:00:06.000Z" });
    vec![given("call.live", 1, live), given("call.completed", 6, report)]
}

fn shuffled() -> impl Strategy<Value = Vec<Given>> {
    // Everything at least once, some of it again, in any order.
    let again = prop::collection::vec(0..course().len(), 0..12);
    again.prop_flat_map(|again| {
        let mut events = course();
        events.extend(again.into_iter().map(|at| course()[at].clone()));
        Just(events).prop_shuffle()
    })
}

proptest! {
    #[test]
    fn a_call_is_the_same_whatever_the_order_and_the_repeats(events in shuffled()) {
        for name in ["calls", "active-calls"] {
            let view = find(name).unwrap();
            let (one, other) = (Table::fold(view, &course()), Table::fold(view, &events));
            prop_assert_eq!(one.listed(view), other.listed(view));
            if name == "calls" {
                prop_assert_eq!(one, other);
            }
        }
    }

    #[test]
    fn a_call_that_is_over_is_never_active_again(events in shuffled()) {
        let view = find("active-calls").unwrap();
        prop_assert!(Table::fold(view, &events).listed(view).is_empty());
    }
}

#[test]
fn a_call_has_everything_that_was_told_of_it() {
    let view = find("calls").unwrap();
    let call = Table::fold(view, &course()).show(view, "CA1");
    includes(
        &call,
        json!({
            "callSid": "CA1", "status": "completed", "from": "+15005550006", "answeredBy": "machine_end_beep",
            "startedAt": "2026-01-02T03:00:01.000Z", "ringingAt": "2026-01-02T03:00:02.000Z",
            "answeredAt": "2026-01-02T03:00:05.000Z", "endedAt": "2026-01-02T03:01:05.000Z",
            "recordings": [{ "sid": "RE1", "status": "completed", "url": "https://r/1", "duration": 60 }],
        }),
    );
    assert_eq!(call["quality"].as_array().unwrap().len(), 2);
    assert_eq!(call["quality"][1]["metrics"]["jitter"], 2, "{call}");
    assert_eq!(call["transcription"]["summary"], "s");
    assert_eq!(call["transcription"]["lines"][0]["text"], "Good morning.");
    assert_eq!(call["transcription"]["lines"].as_array().unwrap().len(), 1);
    assert_eq!(call["notes"][0]["text"], "Call back");
    assert_eq!(call["followUps"][0]["dueAt"], "2026-02-01T00:00:00Z");
    includes(&call["termination"], json!({ "state": "done", "requestedBy": "7" }));
    let reported = Table::fold(view, &course()).show(view, "k1");
    includes(
        &reported,
        json!({ "status": "no-answer", "duration": 5, "endedAt": "2026-01-02T03:00:06.000Z" }),
    );
}

#[test]
fn a_late_ringing_does_not_take_a_completed_call_back() {
    let events = [twilio(5, 3, "completed"), twilio(2, 1, "ringing")];
    let calls = find("calls").unwrap();
    assert_eq!(Table::fold(calls, &events).show(calls, "CA1")["status"], "completed");
    let active = find("active-calls").unwrap();
    assert!(Table::fold(active, &events).listed(active).is_empty());
}

#[test]
fn an_active_call_tells_when_its_timer_began() {
    let view = find("active-calls").unwrap();
    let table = Table::fold(view, &course()[..3]);
    assert_eq!(table.listed(view), ["CA1"]);
    includes(
        &table.show(view, "CA1"),
        json!({ "status": "in-progress", "startedAt": "2026-01-02T03:00:01.000Z",
            "answeredAt": "2026-01-02T03:00:05.000Z", "to": "+14155551212" }),
    );
}

#[test]
fn a_callerdesk_call_ends_with_the_next_report_of_its_number() {
    let view = find("active-calls").unwrap();
    let live = |second, phone: &str, id: &str| {
        given(
            "call.live",
            second,
            json!({ "callId": id, "status": "Picked", "phoneNumber": phone }),
        )
    };
    let report = |second, phone: &str, id: &str| {
        given(
            "call.completed",
            second,
            json!({ "callId": id, "status": "Completed", "phoneNumber": phone }),
        )
    };
    let first = [live(1, "+919876543210", "a"), live(2, "+911111111111", "b")];
    assert_eq!(Table::fold(view, &first).listed(view).len(), 2);
    let ended = [&first[..], &[report(9, "09876543210", "c")]].concat();
    assert_eq!(Table::fold(view, &ended).listed(view), ["phone:1111111111"]);
    let again = [&ended[..], &[live(20, "9876543210", "d")]].concat();
    assert_eq!(Table::fold(view, &again).listed(view).len(), 2);
}

#[test]
fn a_callerdesk_call_is_compared_with_a_report_by_the_providers_clock_alone() {
    let view = find("active-calls").unwrap();
    let phone = "+919876543210";
    let live = |id: &str, began: Option<&str>| {
        let mut data = json!({ "callId": id, "status": "Picked", "phoneNumber": phone });
        if let Some(began) = began {
            data["startTime"] = json!(began);
        }
        Given { id: format!("live-{id}"), ..given("call.live", 30, data) }
    };
    let report = |id: &str, end: &str| {
        let data =
            json!({ "callId": id, "status": "Completed", "phoneNumber": phone, "endTime": end });
        Given { id: format!("report-{id}"), ..given("call.completed", 1, data) }
    };
    let listed = |events: &[Given]| Table::fold(view, events).listed(view).len();
    let (before, start, after) =
        ("2026-01-02T03:00:00.000Z", "2026-01-02T03:00:05.000Z", "2026-01-02T03:00:09.000Z");
    // A report ends what went live before it, however old its own time is.
    assert_eq!(listed(&[live("a", None), report("b", "2024-01-01T00:00:00.000Z")]), 0);
    assert_eq!(listed(&[live("a", Some(start)), report("b", start)]), 0);
    assert_eq!(listed(&[live("a", Some(start)), report("a", before)]), 0);
    // One of an earlier call that comes late does not, and a late notice brings no call back.
    assert_eq!(listed(&[live("a", Some(start)), report("b", before)]), 1);
    assert_eq!(listed(&[report("b", after), live("a", Some(start))]), 0);
    assert_eq!(listed(&[live("a", Some(start)), report("a", after), report("b", before)]), 0);
    assert_eq!(listed(&[report("b", before), live("a", Some(start))]), 1);
}

#[test]
fn a_callerdesk_call_rings_until_it_is_picked_up() {
    let live = |second, status: &str| {
        let data = json!({ "callId": "k", "status": status, "phoneNumber": "+919876543210" });
        given("call.live", second, data)
    };
    let (rings, picked) = (live(1, "Ringing"), live(5, "Picked"));
    for (name, key) in [("active-calls", "phone:9876543210"), ("calls", "k")] {
        let view = find(name).unwrap();
        let shown = |events: &[&Given]| Table::fold(view, events.iter().copied()).show(view, key);
        let ringing = shown(&[&rings]);
        includes(&ringing, json!({ "status": "ringing", "startedAt": rings.time }));
        assert_eq!(ringing.get("answeredAt"), None, "{ringing}");
        for events in [[&rings, &picked], [&picked, &rings]] {
            let answered = json!({ "status": "in-progress", "startedAt": rings.time, "answeredAt": picked.time });
            includes(&shown(&events), answered);
        }
    }
}

#[test]
fn the_times_of_a_report_are_told_and_compared_whatever_their_offset() {
    let view = find("calls").unwrap();
    let live = json!({ "callId": "k1", "status": "Picked", "phoneNumber": "9876543210",
        "startTime": "2026-01-02T08:30:01+05:30" });
    let report = json!({ "callId": "k1", "status": "Completed", "phoneNumber": "9876543210",
        "startTime": "2026-01-02T03:00:01Z", "endTime": "2026-01-02T08:31:06.5+05:30" });
    let late = json!({ "callId": "k1", "status": "Completed", "phoneNumber": "9876543210",
        "startTime": "2026-01-02T03:00:02Z", "endTime": "2026-01-02T03:01:07Z" });
    let mut told = [("call.live", live), ("call.completed", report), ("call.completed", late)]
        .map(|(kind, data)| given(kind, 9, data));
    for _ in 0..told.len() {
        let call = Table::fold(view, &told).show(view, "k1");
        includes(
            &call,
            json!({ "startedAt": "2026-01-02T03:00:01.000Z", "answeredAt": "2026-01-02T03:00:01.000Z",
                "endedAt": "2026-01-02T03:01:06.500Z" }),
        );
        told.rotate_left(1);
    }
}

use proptest::prelude::*;
use serde_json::json;

use super::super::checks::{self, History, Trial, any_order, command, holds};
use super::*;
use crate::identity::Role;

const AGENT: (&str, Role) = ("8", Role::Agent);

fn status(status: &str) -> Value {
    json!({ "callSid": "CA42", "status": status })
}

fn ringing() -> History {
    let mut history = History::of("call");
    history.observe("call.update", status("ringing"), &[]);
    history
}

fn terminate() -> Command {
    command("call.terminate", "CA42", AGENT, json!({}))
}

#[test]
fn a_call_is_ended_by_staff_alone_and_only_one_that_there_is() {
    let mut history = ringing();
    let user = command("call.terminate", "CA42", ("7", Role::User), json!({}));
    assert_eq!(history.ask(&user)["code"], "forbidden");
    assert_eq!(History::of("call").ask(&terminate())["code"], "unknown_call");
    assert_eq!(history.ask(&terminate())["requestedBy"], "8");
}

#[test]
fn who_asks_again_while_it_is_being_ended_gets_the_firsts_outcome() {
    let mut history = ringing();
    history.ask(&terminate());
    let other = command("call.terminate", "CA42", ("9", Role::Admin), json!({}));
    let answer = json!({ "ok": true, "callSid": "CA42", "requestedBy": "8" });
    assert_eq!(history.ask(&other), answer);
    assert_eq!(history.events[2].event_type, "call.unchanged");
    let failed = json!({ "callSid": "CA42", "error": "not in progress" });
    history.observe("call.termination.failed", failed, &[]);
    assert_eq!(history.ask(&other)["requestedBy"], "9", "what failed may be tried again");
}

#[test]
fn a_call_that_is_over_stays_over_whatever_comes_late() {
    for last in CallStatus::ALL.into_iter().filter(|it| it.is_final()).map(CallStatus::name) {
        let mut history = ringing();
        history.observe("call.update", status(last), &[]);
        history.observe("call.update", status("ringing"), &[]);
        assert_eq!(history.ask(&terminate())["code"], "call_over", "{last}");
    }
    let desk = json!({ "type": "call_completed", "workspaceId": "acme", "callId": "CA42", "status": "Busy",
        "duration": "0m 0s", "durationSeconds": 0, "phoneNumber": "1" });
    let mut history = History::of("call");
    history.observe("call.completed", desk, &[]);
    assert_eq!(history.ask(&terminate())["code"], "call_over");
}

#[test]
fn notes_and_promises_are_kept_on_a_call_even_when_it_is_over() {
    let mut history = ringing();
    history.observe("call.update", status("completed"), &[]);
    let note = command("call.note", "CA42", AGENT, json!({ "text": "Wants an offer." }));
    let noted = history.ask_as("k-7", &note);
    let expected = json!({ "ok": true, "callSid": "CA42", "noteId": "k-7", "author": "8", "text": "Wants an offer." });
    assert_eq!(noted, expected);
    let due = json!({ "dueAt": "2026-01-05T09:00:00Z" });
    let promised = history.ask(&command("call.follow_up", "CA42", AGENT, due));
    assert_eq!((&promised["ok"], &promised["createdBy"]), (&json!(true), &json!("8")));
    let empty = command("call.note", "CA42", AGENT, json!({ "text": "" }));
    assert_eq!(history.ask(&empty)["code"], "invalid_data");
}

fn facts() -> Vec<(&'static str, Value)> {
    let statuses = ["queued", "ringing", "in-progress", "completed"];
    let mut facts: Vec<_> = statuses.map(|s| ("call.update", status(s))).into();
    facts.push(("call.update", json!({ "callSid": "CA42", "answeredBy": "human" })));
    facts.push(("call.transcription", json!({ "callSid": "CA42", "role": "agent", "text": "Hi" })));
    facts
}

proptest! {
    #[test]
    fn whatever_is_asked_is_decided_once(steps in checks::steps()) {
        let data = json!({ "text": "x", "dueAt": "2026-01-05T09:00:00Z" });
        let commands = ["call.terminate", "call.note", "call.follow_up"].map(|kind| (kind, data.clone()));
        let trial = Trial { category: "call", entity: "CA42", commands: &commands, observations: &facts() };
        holds(&trial, &steps);
    }

    #[test]
    fn providers_may_report_in_any_order(facts in Just(facts()).prop_shuffle()) {
        any_order("call", facts);
    }

    #[test]
    fn a_decision_that_races_with_a_fact_is_harmless(at in 0..7usize) {
        // With three replicas a fact may slip in between what was decided on and the decision.
        let mut usual = History::of("call");
        facts().iter().for_each(|(kind, data)| usual.observe(kind, data.clone(), &[]));
        let requested = json!({ "callSid": "CA42", "requestedBy": "8" });
        let mut raced = History::of("call");
        for (place, (kind, data)) in facts().iter().enumerate() {
            if place == at {
                raced.observe("call.termination.requested", requested.clone(), &[]);
            }
            raced.observe(kind, data.clone(), &[]);
        }
        for history in [&mut usual, &mut raced] {
            assert_eq!(history.ask(&terminate())["code"], "call_over");
        }
    }
}

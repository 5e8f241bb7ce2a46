use proptest::prelude::*;
use serde_json::json;

use super::super::checks::{self, History, Step, Trial, command, holds};
use super::*;

const OWNER: (&str, Role) = ("7", Role::User);

fn asked(kind: &str, actor: (&str, Role)) -> Command {
    let data = json!({ "avatarId": "maya", "message": "I slept well." });
    command(kind, "c-9", actor, data)
}

fn begun() -> History {
    let mut history = History::of("conversation");
    history.ask(&asked("conversation.start", OWNER));
    history
}

#[test]
fn a_conversation_belongs_to_who_started_it_and_its_sender_is_told() {
    let history = begun();
    let started = &history.events[0];
    assert_eq!(started.field("userId"), Some("7"));
    assert_eq!(started.field("conversationId"), Some("c-9"));
    let channels: Vec<_> = started.channels.iter().map(|channel| channel.as_str()).collect();
    assert_eq!(channels, ["conversation:c-9", "connection:p-1"]);
    let follow_ups = history.follow_ups();
    assert_eq!(follow_ups.len(), 1);
    assert_eq!(follow_ups[0].event_type, "session.started");
    assert_eq!(follow_ups[0].data["avatarId"], "maya");
}

#[test]
fn only_the_owner_and_an_administrator_speak_and_the_others_learn_nothing() {
    let mut history = begun();
    assert_eq!(history.ask(&asked("conversation.message", OWNER))["ok"], true);
    assert_eq!(history.ask(&asked("conversation.message", ("1", Role::Admin)))["userId"], "1");
    let refused = history.ask(&asked("conversation.message", ("8", Role::Agent)));
    let nowhere = History::of("conversation").ask(&asked("conversation.message", OWNER));
    assert_eq!(refused["code"], "unknown_conversation");
    assert_eq!(refused, nowhere);
    assert_eq!(history.ask(&asked("conversation.end", ("8", Role::Agent))), {
        let mut other = refused.clone();
        other["code"] = "unknown_conversation".into();
        other
    });
}

#[test]
fn the_end_tells_how_long_it_was_by_the_logs_own_clock() {
    let mut history = begun();
    history.second = 125;
    let ended = history.ask(&asked("conversation.end", OWNER));
    assert_eq!(
        ended,
        json!({ "ok": true, "success": true, "conversationId": "c-9", "userId": "7", "duration": 125 })
    );
    let session = history.follow_ups().remove(0);
    assert_eq!((session.event_type, &session.data["duration"]), ("session.ended", &json!(125)));
}

#[test]
fn ending_it_again_gives_the_same_answer_and_speaking_then_is_refused() {
    let mut history = begun();
    history.second = 10;
    let first = history.ask(&asked("conversation.end", OWNER));
    history.second = 900;
    assert_eq!(history.ask(&asked("conversation.end", ("1", Role::Admin))), first);
    assert!(history.follow_ups().is_empty(), "a session ends once");
    let refused = history.ask(&asked("conversation.message", OWNER));
    assert_eq!(refused["code"], "conversation_ended");
}

#[test]
fn what_is_said_when_it_is_over_is_kept_for_the_screen_and_told_to_nobody() {
    let mut history = begun();
    history.ask(&asked("conversation.end", OWNER));
    let refused = history.ask(&asked("conversation.message", OWNER));
    assert_eq!((refused.get("said"), refused.get("saidBy")), (None, None), "{refused}");
    let kept = history.events.last().unwrap();
    assert_eq!(kept.event_type, "conversation.rejected");
    assert_eq!((kept.field("said"), kept.field("saidBy")), (Some("I slept well."), Some("7")));
    history.ask(&asked("conversation.message", ("8", Role::Agent)));
    assert_eq!(history.events.last().unwrap().field("said"), None, "it is not theirs");
}

#[test]
fn what_is_said_in_ones_own_conversation_is_kept_when_its_beginning_has_expired() {
    let mut message = asked("conversation.message", OWNER);
    message.entity = crate::owned_id::mint(&message.tenant, "7", "7/k-1");
    let mut history = History::of("conversation");
    assert_eq!(history.ask(&message)["code"], "unknown_conversation");
    assert_eq!(history.events[0].field("said"), Some("I slept well."));
    message.actor.user = "8".into();
    let mut history = History::of("conversation");
    history.ask(&message);
    assert_eq!(history.events[0].field("said"), None);
}

#[test]
fn a_session_is_updated_with_the_first_message_of_each_stretch() {
    let mut history = begun();
    let mut updates = Vec::new();
    for second in [1, 2, 14, 16, 17, 90] {
        history.second = second;
        history.ask(&asked("conversation.message", OWNER));
        updates.extend(history.follow_ups().into_iter().map(|draft| {
            (draft.data["duration"].as_u64().unwrap(), draft.data["messages"].as_u64().unwrap())
        }));
    }
    assert_eq!(updates, [(1, 1), (16, 4), (90, 6)]);
}

#[test]
fn a_message_without_text_is_refused_with_the_fields_name() {
    let mut history = begun();
    let refused = history.ask(&command("conversation.message", "c-9", OWNER, json!({})));
    assert_eq!((&refused["code"], &refused["field"]), (&json!("invalid_data"), &json!("message")));
}

proptest! {
    #[test]
    fn whatever_is_asked_is_decided_once(steps in checks::steps()) {
        let data = json!({ "message": "Hello" });
        let commands = [
            ("conversation.start", data.clone()), ("conversation.message", data.clone()),
            ("conversation.message", data.clone()), ("conversation.end", data.clone()),
        ];
        let trial = Trial { category: "conversation", entity: "c.9", commands: &commands, observations: &[] };
        let begin = [Step::Ask(0, 99, 0)];
        holds(&trial, &[&begin[..], &steps].concat());
    }
}

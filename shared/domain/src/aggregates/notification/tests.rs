use proptest::prelude::*;
use serde_json::json;

use super::super::checks::{self, History, Trial, command, holds};
use super::*;
use crate::identity::Role;

fn given() -> History {
    let mut history = History::of("notification");
    let data = json!({ "id": "n-1", "userId": "a,7", "message": "Maya answered you." });
    history.observe("notification.new", data, &["8"]);
    history
}

fn read_by(user: &str, role: Role) -> Command {
    command("notification.read", "n-1", (user, role), json!({}))
}

#[test]
fn everybody_it_was_for_reads_it_once() {
    let mut history = given();
    let answer = history.ask(&read_by("a,7", Role::User));
    assert_eq!(answer, json!({ "ok": true, "notificationId": "n-1", "userId": "a,7" }));
    assert_eq!(history.events[1].channels, [Channel::with_id("user", "a,7").unwrap()]);
    assert_eq!(history.ask(&read_by("a,7", Role::User)), answer);
    assert_eq!(history.events[2].event_type, "notification.unchanged");
    assert_eq!(history.ask(&read_by("8", Role::User))["ok"], true);
}

#[test]
fn nobody_reads_what_was_for_others() {
    let mut history = given();
    for (user, role) in [("7", Role::User), ("9", Role::Admin)] {
        assert_eq!(history.ask(&read_by(user, role))["code"], "unknown_notification");
    }
}

#[test]
fn everybody_reads_all_of_their_own() {
    let mut history = History::of("notification");
    let mine = command("notification.read_all", "7", ("7", Role::User), json!({}));
    let theirs = command("notification.read_all", "7", ("9", Role::Admin), json!({}));
    assert_eq!(history.ask(&mine), json!({ "ok": true, "userId": "7" }));
    assert_eq!(history.ask(&theirs)["code"], "forbidden");
}

proptest! {
    #[test]
    fn whatever_is_asked_is_decided_once(steps in checks::steps()) {
        let trial = Trial {
            category: "notification",
            entity: "7",
            commands: &[("notification.read", json!({})), ("notification.read_all", json!({}))],
            observations: &[
                ("notification.new", json!({ "id": "7", "userId": "7", "title": "t" })),
                ("notification.message", json!({ "id": "7", "userId": "8", "message": "m" })),
            ],
        };
        holds(&trial, &steps);
    }

    #[test]
    fn it_is_for_the_same_people_in_whatever_order_that_is_said(
        users in prop::collection::vec("[a-c]", 1..6).prop_shuffle(),
    ) {
        let told = users.iter().map(|user| {
            ("notification.new", json!({ "id": "n", "userId": user, "title": "t" }))
        });
        checks::any_order("notification", told.collect());
    }
}

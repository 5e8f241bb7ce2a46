use serde_json::json;

use super::*;
use crate::command::Actor;
use crate::identity::Role;
use crate::token::Tenant;

/// A door that somebody opens once.
#[derive(Debug)]
struct Door;

impl Aggregate for Door {
    const CATEGORY: &'static str = "call";
    type State = Option<String>;

    fn evolve(state: &mut Self::State, event: &RecordedEvent) {
        if event.event_type == "call.opened" {
            *state = event.field("by").map(str::to_owned);
        }
    }

    fn decide(
        state: &Self::State,
        command: &Command,
        _now: OffsetDateTime,
    ) -> Result<Decision, Rejection> {
        match state {
            None => {
                let by = command.actor.user.as_str().into();
                Ok(Decision::Recorded(Draft::new("call.opened", [("by", by)])))
            }
            Some(by) if *by == command.actor.user => {
                Ok(Decision::Unchanged(fields([("by", by.as_str().into())])))
            }
            Some(by) => Err(Rejection::new("open", "Somebody was first").with("by", by.as_str())),
        }
    }
}

fn command(user: &str, id: &str) -> Command {
    Command {
        id: id.into(),
        kind: "call.open".into(),
        tenant: Tenant::parse("acme").unwrap(),
        entity: "door.1".into(),
        actor: Actor { user: user.into(), role: Role::User },
        connection: Some("p-1".into()),
        reply: None,
        time: OffsetDateTime::UNIX_EPOCH,
        data: Map::new(),
    }
}

fn record(command: &Command, door: &Folded<Door>) -> RecordedEvent {
    let decision = door.decide(command, OffsetDateTime::UNIX_EPOCH);
    let draft = record_of(command, decision).unwrap();
    RecordedEvent {
        sequence: door.revision() + 1,
        stored_at: OffsetDateTime::UNIX_EPOCH,
        id: format!("e-{}", door.revision() + 1),
        event_type: draft.event_type.to_owned(),
        causation_id: Some(command.key()),
        channels: draft.channels,
        data: draft.data,
    }
}

#[test]
fn the_first_wins_and_the_others_are_told_who_did() {
    let mut door = Folded::<Door>::default();
    let (first, second, again) = (command("7", "a"), command("8", "a"), command("7", "b"));
    let told = [&first, &second, &again].map(|command| {
        let record = record(command, &door);
        door.evolve(&record);
        Value::Object(answer(&command.id, &record))
    });
    assert_eq!(told[0], json!({ "ok": true, "commandId": "a", "by": "7" }));
    let refused = json!({ "ok": false, "commandId": "a", "code": "open", "message": "Somebody was first", "by": "7" });
    assert_eq!(told[1], refused);
    assert_eq!(told[2], json!({ "ok": true, "commandId": "b", "by": "7" }));
    assert_eq!(door.state().as_deref(), Some("7"));
    assert_eq!(door.size(), 3, "each has left its record");
}

#[test]
fn a_command_is_found_by_its_caller_and_id_and_an_event_counts_once() {
    let mut door = Folded::<Door>::default();
    let first = record(&command("7", "a"), &door);
    door.evolve(&first);
    let second = RecordedEvent { sequence: 9, ..first.clone() };
    door.evolve(&second);
    door.evolve(&first);
    assert_eq!(door.revision(), 9);
    assert_eq!(door.decided(&command("7", "a").key()), Some(1), "its first record counts");
    assert_eq!(door.decided(&command("8", "a").key()), None);
}

#[test]
fn a_rejection_goes_to_the_connection_alone_and_names_its_entity() {
    let mut door = Folded::<Door>::default();
    door.evolve(&record(&command("7", "a"), &door));
    let refused = record(&command("8", "b"), &door);
    assert_eq!(refused.event_type, "call.rejected");
    assert_eq!(refused.channels, [Channel::parse("connection:p-1").unwrap()]);
    assert_eq!(
        (refused.field("entity"), refused.field("command")),
        (Some("door.1"), Some("call.open"))
    );
}

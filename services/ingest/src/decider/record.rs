//! A decision as an event that the catalogue admits. Pure.

use domain::aggregate::{Decision, Draft, Rejection, record_of};
use domain::catalogue::{Admitted, Catalogue, Defaults, Publication, Refusal};
use domain::{Command, Tenant};
use serde_json::Value;
use time::OffsetDateTime;

/// Which decisions leave a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Keep {
    /// Every one: a caller may ask again.
    Every,
    /// A refusal of what the platform asks itself is nothing to tell.
    Accepted,
}

/// Who speaks in the events that commands bring about.
pub(crate) const SOURCE: &str = "/decisions";

/// Why a command leaves no record, however often it is tried.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unrecordable {
    #[error("no entity decides commands of this category")]
    NoEntity,
    #[error("its record would stand on another entity")]
    Misplaced,
    #[error("its record is refused by the catalogue")]
    Refused(#[source] Refusal),
}

/// The record that a decision leaves, found again by `key`. What the catalogue refuses of it is the command's fault and becomes a rejection,
/// unless nobody is to be told of one: a command of the platform's own stays undecided then, and is asked again.
pub(super) fn admit(
    catalogue: &Catalogue,
    (command, key): (&Command, &str),
    decision: Result<Decision, Rejection>,
    keep: Keep,
    id: &str,
    now: OffsetDateTime,
) -> Result<Admitted, Unrecordable> {
    match record(catalogue, (command, key), decision, id, now) {
        Err(Unrecordable::Refused(refusal)) if keep == Keep::Every => {
            record(catalogue, (command, key), Err(invalid(refusal)), id, now)
        }
        outcome => outcome,
    }
}

fn record(
    catalogue: &Catalogue,
    (command, key): (&Command, &str),
    decision: Result<Decision, Rejection>,
    id: &str,
    now: OffsetDateTime,
) -> Result<Admitted, Unrecordable> {
    let draft = record_of(command, decision).ok_or(Unrecordable::NoEntity)?;
    let admitted = admit_draft(catalogue, &command.tenant, draft, key.to_owned(), id, now);
    let admitted = admitted.map_err(Unrecordable::Refused)?;
    let place = command.address();
    let there = place.is_ok_and(|place| place == *admitted.subject.address());
    if there && admitted.stream.is_some() { Ok(admitted) } else { Err(Unrecordable::Misplaced) }
}

/// An event of the platform's own, in the name of what brought it about.
pub(super) fn admit_draft(
    catalogue: &Catalogue,
    tenant: &Tenant,
    draft: Draft,
    cause: String,
    id: &str,
    now: OffsetDateTime,
) -> Result<Admitted, Refusal> {
    let Draft { event_type, data, channels } = draft;
    let publication = Publication {
        time: Some(now),
        channels,
        causation_id: Some(cause),
        ..Publication::new(event_type, SOURCE, Value::Object(data))
    };
    catalogue.admit_own(tenant, publication, Defaults { id: id.to_owned(), now })
}

fn invalid(refusal: Refusal) -> Rejection {
    let message = format!("The command cannot be carried out: {refusal}.");
    let rejection = Rejection::new("invalid_data", message);
    match refusal {
        Refusal::Invalid(violation) if !violation.pointer.is_empty() => {
            rejection.with("field", violation.pointer.trim_start_matches('/'))
        }
        _ => rejection,
    }
}

pub(super) fn too_large() -> Rejection {
    Rejection::new("too_large", "What it says is larger than the log accepts.")
}

#[cfg(test)]
mod tests {
    use domain::Role;
    use domain::aggregate::fields;
    use domain::command::Actor;
    use serde_json::{Map, json};

    use super::*;

    const KEY: &str = "7/conversation.message/k-1";

    fn command(entity: &str) -> Command {
        Command {
            id: "k-1".into(),
            kind: "conversation.message".into(),
            tenant: Tenant::parse("acme").unwrap(),
            entity: entity.into(),
            actor: Actor { user: "7".into(), role: Role::User },
            connection: Some("p-1".into()),
            reply: None,
            time: OffsetDateTime::UNIX_EPOCH,
            data: Map::new(),
        }
    }

    fn admitted(entity: &str, id: &str) -> Result<Admitted, Unrecordable> {
        kept(entity, id, Keep::Every)
    }

    fn kept(entity: &str, id: &str, keep: Keep) -> Result<Admitted, Unrecordable> {
        let text = |text: &str| Value::String(text.to_owned());
        let draft = Draft::new(
            "conversation.message",
            [
                ("conversationId", text(entity)),
                ("userId", text("7")),
                ("messageId", text(id)),
                ("message", text("Hello")),
            ],
        );
        let catalogue = Catalogue::builtin().unwrap();
        let now = OffsetDateTime::UNIX_EPOCH;
        let decision = Ok(Decision::Recorded(draft));
        admit(&catalogue, (&command("c.9"), KEY), decision, keep, "e-1", now)
    }

    #[test]
    fn a_record_stands_on_its_commands_entity_and_names_the_command() {
        let event = admitted("c.9", "m-1").unwrap();
        assert_eq!(*event.subject.address(), command("c.9").address().unwrap());
        assert_eq!(event.message_id, "acme:/decisions:e-1");
        assert_eq!(event.envelope.causation_id.as_deref(), Some(KEY));
        let data: Value = serde_json::from_slice(&event.envelope.data).unwrap();
        assert_eq!(data["timestamp"], "1970-01-01T00:00:00.000Z", "when the command was stored");
    }

    #[test]
    fn what_the_catalogue_refuses_is_a_rejection_that_says_why() {
        let event = admitted("c.9", &"m".repeat(200)).unwrap();
        assert_eq!(event.envelope.event_type, "conversation.rejected");
        let data: Value = serde_json::from_slice(&event.envelope.data).unwrap();
        assert_eq!((&data["code"], &data["field"]), (&json!("invalid_data"), &json!("messageId")));
    }

    #[test]
    fn what_the_platform_asks_itself_stays_undecided_when_its_record_is_refused() {
        assert!(kept("c.9", "m-1", Keep::Accepted).is_ok());
        let refused = kept("c.9", &"m".repeat(200), Keep::Accepted);
        assert!(matches!(refused, Err(Unrecordable::Refused(_))), "{refused:?}");
    }

    #[test]
    fn nothing_is_recorded_on_another_entity() {
        assert!(matches!(admitted("c.10", "m-1"), Err(Unrecordable::Misplaced)));
        let long = Command { id: "k".repeat(600), ..command("c.9") };
        let catalogue = Catalogue::builtin().unwrap();
        let unchanged = Ok(Decision::Unchanged(fields([])));
        let record = admit(
            &catalogue,
            (&long, &long.key()),
            unchanged,
            Keep::Every,
            "e",
            OffsetDateTime::UNIX_EPOCH,
        );
        assert!(matches!(record, Err(Unrecordable::Refused(_))), "not even its rejection fits");
    }
}

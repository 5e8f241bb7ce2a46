//! A decision as a record of the log, and a record as the answer that a caller gets.

use serde_json::{Map, Value};

use super::{Decision, Draft, RecordedEvent, Rejection, sender};
use crate::command::Command;

/// What a record says about its command besides the answer: `entity` is what its place in the log follows from, `said`
/// are the caller's own words.
const ABOUT: [&str; 4] = ["command", "entity", "said", "saidBy"];

/// The names of a rejection and of a confirmation, per category with aggregates.
const RECORDS: [(&str, &str, &str); 5] = [
    ("crisis", "crisis.rejected", "crisis.unchanged"),
    ("conversation", "conversation.rejected", "conversation.unchanged"),
    ("notification", "notification.rejected", "notification.unchanged"),
    ("call", "call.rejected", "call.unchanged"),
    ("campaign", "campaign.rejected", "campaign.unchanged"),
];

/// The one event that a decision leaves on its entity; `None` for a category without aggregates.
pub fn record_of(command: &Command, decision: Result<Decision, Rejection>) -> Option<Draft> {
    let (_, rejected, unchanged) =
        RECORDS.into_iter().find(|(category, ..)| *category == command.category())?;
    let (event_type, mut data) = match decision {
        Ok(Decision::Recorded(draft)) => return Some(draft),
        Ok(Decision::Unchanged(answer)) => (unchanged, answer),
        Err(Rejection { code, message, mut fields, .. }) => {
            fields.insert("code".to_owned(), code.into());
            fields.insert("message".to_owned(), message.into());
            (rejected, fields)
        }
    };
    data.insert("commandId".to_owned(), command.id.as_str().into());
    data.insert("command".to_owned(), command.kind.as_str().into());
    data.insert("entity".to_owned(), command.entity.as_str().into());
    Some(Draft { event_type, data, channels: sender(command).into_iter().collect() })
}

/// What the caller of a command is told, from the record of it: `ok`, `commandId` and the record's data.
pub fn answer(command_id: &str, record: &RecordedEvent) -> Map<String, Value> {
    let mut answer = record.data.clone();
    let rejected = RECORDS.iter().any(|(_, rejected, _)| *rejected == record.event_type);
    let decision = RECORDS.iter().all(|(.., unchanged)| *unchanged != record.event_type);
    if rejected || !decision {
        ABOUT.iter().for_each(|name| {
            answer.remove(*name);
        });
    }
    answer.insert("ok".to_owned(), (!rejected).into());
    answer.insert("commandId".to_owned(), command_id.into());
    answer
}

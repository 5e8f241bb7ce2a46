//! What people do with a call: end it, note something down, promise to call again.
//!
//! What providers observe are facts in any order: a call that was seen over once is over, whatever comes later. A
//! decision that races with such a fact is harmless: ending a call that has just ended fails at the provider, which is
//! told as an event like any outcome.

use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::rules::{required, staff, text, unknown_kind};
use crate::aggregate::{Aggregate, Decision, Draft, RecordedEvent, Rejection};
use crate::call_status::CallStatus;
use crate::command::Command;

#[derive(Debug)]
pub struct Call;

#[derive(Clone, PartialEq, Debug, Default)]
pub struct State {
    known: bool,
    over: bool,
    /// Who asked to end it, as long as that has not failed: the answer to who asks again.
    termination: Option<Map<String, Value>>,
}

impl Aggregate for Call {
    const CATEGORY: &'static str = "call";
    type State = State;

    fn evolve(state: &mut State, event: &RecordedEvent) {
        match event.event_type.as_str() {
            "call.update" => {
                state.known = true;
                let status = event.field("status").and_then(CallStatus::parse);
                state.over |= status.is_some_and(CallStatus::is_final);
            }
            "call.completed" => (state.known, state.over) = (true, true),
            "call.live" | "call.quality" | "call.transcription" => state.known = true,
            "call.termination.requested" => {
                let told = ["callSid", "requestedBy"]
                    .into_iter()
                    .filter_map(|name| Some((name, text(event.field(name)?))));
                state.termination = Some(told.map(|(n, v)| (n.to_owned(), v)).collect());
            }
            "call.termination.failed" => state.termination = None,
            _ => {}
        }
    }

    fn decide(
        state: &State,
        command: &Command,
        _now: OffsetDateTime,
    ) -> Result<Decision, Rejection> {
        staff(&command.actor)?;
        if !state.known {
            return Err(Rejection::new("unknown_call", "There is no such call."));
        }
        let by = text(&command.actor.user);
        let about = ("callSid", text(&command.entity));
        match command.kind.as_str() {
            "call.terminate" => terminate(state, command),
            "call.note" => Ok(Decision::Recorded(Draft::new(
                "call.note",
                [
                    about,
                    ("noteId", text(&command.id)),
                    ("author", by),
                    ("text", text(required(command, "text")?)),
                ],
            ))),
            "call.follow_up" => {
                let draft = Draft::new(
                    "call.follow_up",
                    [
                        about,
                        ("followUpId", text(&command.id)),
                        ("createdBy", by),
                        ("dueAt", text(required(command, "dueAt")?)),
                    ],
                );
                Ok(Decision::Recorded(draft.with("text", command.field("text"))))
            }
            _ => Err(unknown_kind(command)),
        }
    }
}

fn terminate(state: &State, command: &Command) -> Result<Decision, Rejection> {
    if state.over {
        return Err(Rejection::new("call_over", "The call is over."));
    }
    if let Some(first) = &state.termination {
        return Ok(Decision::Unchanged(first.clone()));
    }
    let data = [
        ("callSid", text(&command.entity)),
        ("requestedBy", text(&command.actor.user)),
        ("commandId", text(&command.id)),
    ];
    Ok(Decision::Recorded(Draft::new("call.termination.requested", data)))
}

#[cfg(test)]
mod tests;

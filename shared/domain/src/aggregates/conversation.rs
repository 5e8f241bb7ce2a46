//! A conversation with the AI: begun by its owner, written in by the owner (or an administrator), ended once.
//!
//! It must not know how the AI answers. A conversation of somebody else's and one that does not exist are refused alike.

use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::rules::{required, text, unknown_kind};
use crate::aggregate::{Aggregate, Decision, Draft, RecordedEvent, Rejection};
use crate::command::Command;
use crate::identity::Role;
use crate::owned_id::belongs_to;

/// A running session's figures are told with the first message of every so many seconds.
const UPDATE_EVERY: i64 = 15;

#[derive(Debug)]
pub struct Conversation;

#[derive(Clone, PartialEq, Debug, Default)]
pub struct State {
    started: Option<Started>,
    /// The answer to who ends it again.
    ended: Option<Map<String, Value>>,
    messages: u64,
    update: Update,
}

#[derive(Clone, PartialEq, Debug)]
struct Started {
    owner: String,
    at: OffsetDateTime,
}

/// The last message that was the first of its stretch of time.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Update {
    stretch: Option<i64>,
    sequence: u64,
    seconds: u64,
}

impl Aggregate for Conversation {
    const CATEGORY: &'static str = "conversation";
    type State = State;

    fn evolve(state: &mut State, event: &RecordedEvent) {
        match event.event_type.as_str() {
            "conversation.started" if state.started.is_none() => {
                let owner = event.field("userId").unwrap_or_default().to_owned();
                state.started = Some(Started { owner, at: event.stored_at });
            }
            "conversation.message" => state.count(event),
            "conversation.ended" if state.ended.is_none() => {
                let answer = ["success", "conversationId", "userId", "duration"];
                let kept = answer
                    .iter()
                    .filter_map(|name| Some(((*name).to_owned(), event.data.get(*name)?.clone())));
                state.ended = Some(kept.collect());
            }
            _ => {}
        }
    }

    fn decide(
        state: &State,
        command: &Command,
        now: OffsetDateTime,
    ) -> Result<Decision, Rejection> {
        match command.kind.as_str() {
            "conversation.start" => start(state, command),
            "conversation.message" => message(state, command),
            "conversation.end" => end(state, command, now),
            _ => Err(unknown_kind(command)),
        }
    }

    fn follow_ups(state: &State, event: &RecordedEvent) -> Vec<Draft> {
        let copied = |name: &str| event.data.get(name).cloned();
        let about = |event_type| {
            Draft::new(event_type, [])
                .with("userId", copied("userId"))
                .with("conversationId", copied("conversationId"))
        };
        match event.event_type.as_str() {
            "conversation.started" => {
                vec![about("session.started").with("avatarId", copied("avatarId"))]
            }
            "conversation.message" => state.figures(event).into_iter().collect(),
            "conversation.ended" => {
                vec![about("session.ended").with("duration", copied("duration"))]
            }
            _ => Vec::new(),
        }
    }
}

impl State {
    fn count(&mut self, event: &RecordedEvent) {
        self.messages += 1;
        let Some(started) = &self.started else { return };
        let seconds = (event.stored_at - started.at).whole_seconds().max(0);
        let stretch = Some(seconds / UPDATE_EVERY);
        if stretch > self.update.stretch {
            let seconds = seconds.unsigned_abs();
            self.update = Update { stretch, sequence: event.sequence, seconds };
        }
    }

    /// Only with the newest first message of a stretch: asked late, newer figures are told already or will be.
    fn figures(&self, event: &RecordedEvent) -> Option<Draft> {
        let started = self.started.as_ref()?;
        if event.sequence != self.update.sequence {
            return None;
        }
        let figures = [
            ("userId", text(&started.owner)),
            ("state", text("active")),
            ("duration", self.update.seconds.into()),
            ("messages", self.messages.into()),
        ];
        let conversation = event.data.get("conversationId").cloned();
        Some(Draft::new("session.update", figures).with("conversationId", conversation))
    }

    /// The conversation, if there is one that this actor may have.
    fn of(&self, command: &Command) -> Result<&Started, Rejection> {
        let unknown =
            || Rejection::new("unknown_conversation", "There is no such conversation of yours.");
        let started = self.started.as_ref().ok_or_else(unknown)?;
        let may = started.owner == command.actor.user || command.actor.role == Role::Admin;
        if may { Ok(started) } else { Err(unknown()) }
    }
}

fn start(state: &State, command: &Command) -> Result<Decision, Rejection> {
    if command.actor.role == Role::Guest {
        return Err(Rejection::new("forbidden", "Your role does not allow this."));
    }
    if state.started.is_some() {
        return Err(Rejection::new("conversation_exists", "This conversation has begun already."));
    }
    let draft = Draft::new(
        "conversation.started",
        [("conversationId", text(&command.entity)), ("userId", text(&command.actor.user))],
    );
    Ok(Decision::Recorded(draft.with("avatarId", command.field("avatarId")).to_sender(command)))
}

fn message(state: &State, command: &Command) -> Result<Decision, Rejection> {
    if let Err(unknown) = state.of(command) {
        // One whose beginning has expired is known by its id to be the caller's.
        let is_own = state.started.is_none()
            && belongs_to(&command.entity, &command.tenant, &command.actor.user);
        return Err(if is_own { keeping(unknown, command) } else { unknown });
    }
    if state.ended.is_some() {
        let over = Rejection::new("conversation_ended", "This conversation is over.");
        let is_own = state.started.as_ref().is_some_and(|it| it.owner == command.actor.user);
        return Err(if is_own { keeping(over, command) } else { over });
    }
    let said = required(command, "message")?;
    Ok(Decision::Recorded(Draft::new(
        "conversation.message",
        [
            ("conversationId", text(&command.entity)),
            ("userId", text(&command.actor.user)),
            ("messageId", text(command.field("messageId").unwrap_or(&command.id))),
            ("message", text(said)),
        ],
    )))
}

/// The answer to a message under an id that its sender has used for another one.
pub fn reused(command: &Command) -> Rejection {
    let told = "This id was used for another message; send this one under an id of its own.";
    keeping(Rejection::new("id_reused", told), command)
}

/// What a record of a message tells of what was said; `None` for any other record.
pub fn said(record: &RecordedEvent) -> Option<&str> {
    match &*record.event_type {
        "conversation.message" => record.field("message"),
        _ => record.field("said"),
    }
}

/// A refusal with what was said, as it came sealed: the words of somebody in danger are not passed over for where they
/// were said.
fn keeping(rejection: Rejection, command: &Command) -> Rejection {
    match command.field("message") {
        Some(said) => rejection.with("said", said).with("saidBy", command.actor.user.as_str()),
        None => rejection,
    }
}

fn end(state: &State, command: &Command, now: OffsetDateTime) -> Result<Decision, Rejection> {
    let started = state.of(command)?;
    if let Some(answer) = &state.ended {
        return Ok(Decision::Unchanged(answer.clone()));
    }
    let duration = (now - started.at).whole_seconds().max(0);
    let draft = Draft::new(
        "conversation.ended",
        [
            ("success", true.into()),
            ("conversationId", text(&command.entity)),
            ("userId", text(&started.owner)),
            ("duration", duration.into()),
        ],
    );
    Ok(Decision::Recorded(draft.to_sender(command)))
}

#[cfg(test)]
mod tests;

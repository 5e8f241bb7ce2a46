//! How commands are decided once: what an aggregate is, and what every aggregate has in common.
//!
//! Pure. An entity's state is the fold of its events; a decision is a function of that state and a command. Every
//! command leaves exactly one record on its entity: the event it brought about, `<category>.rejected`, or
//! `<category>.unchanged` where what it asked for was so already. A repeat is answered from that record, so it gets the
//! first answer whatever has happened since. Nothing here knows how events are stored or who waits for the answer.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use crate::channel::Channel;
use crate::command::Command;
use crate::envelope::Envelope;

mod answer;
#[cfg(test)]
mod tests;

pub use answer::{answer, record_of};

/// One kind of entity: its state and its rules.
pub trait Aggregate: fmt::Debug + Send + Sync + 'static {
    const CATEGORY: &'static str;
    type State: Default + Clone + PartialEq + fmt::Debug + Send + Sync + 'static;

    /// Total: what is recorded cannot fail, and an event that means nothing here changes nothing.
    fn evolve(state: &mut Self::State, event: &RecordedEvent);

    /// `now` is when the command was stored, by the log's clock like the times of the events: a command that is
    /// decided again, however much later, is decided alike.
    fn decide(
        state: &Self::State,
        command: &Command,
        now: OffsetDateTime,
    ) -> Result<Decision, Rejection>;

    /// What else is to be told because of a decision of this aggregate, from the state that includes it (and perhaps
    /// more). Asked again after a crash: what it gives for one event is stored once.
    fn follow_ups(_state: &Self::State, _event: &RecordedEvent) -> Vec<Draft> {
        Vec::new()
    }
}

/// A command was accepted.
#[derive(Clone, PartialEq, Debug)]
pub enum Decision {
    /// A new fact; its data is the answer.
    Recorded(Draft),
    /// What was asked for is so already; these fields are the answer.
    Unchanged(Map<String, Value>),
}

/// An event before it has an id, a time and a place.
#[derive(Clone, PartialEq, Debug)]
pub struct Draft {
    pub event_type: &'static str,
    pub data: Map<String, Value>,
    /// Besides those of the catalogue.
    pub channels: Vec<Channel>,
}

/// A business "no", stored and told.
#[derive(Clone, PartialEq, Debug)]
pub struct Rejection {
    pub code: &'static str,
    pub message: String,
    /// What helps the caller, such as who came first.
    pub fields: Map<String, Value>,
    /// Whether it is kept: not where anybody could fill a log that nothing is removed from.
    pub is_recorded: bool,
}

/// An event of the log, as the folds see it.
#[derive(Clone, PartialEq, Debug)]
pub struct RecordedEvent {
    pub sequence: u64,
    /// By the log's clock.
    pub stored_at: OffsetDateTime,
    pub id: String,
    pub event_type: String,
    /// The [`Command::key`] of the command that it answers.
    pub causation_id: Option<String>,
    pub channels: Vec<Channel>,
    pub data: Map<String, Value>,
}

impl RecordedEvent {
    /// Data that is no object counts as empty: the gate admits none.
    pub fn new(envelope: Envelope, sequence: u64, stored_at: OffsetDateTime) -> Self {
        Self {
            sequence,
            stored_at,
            id: envelope.id,
            event_type: envelope.event_type,
            causation_id: envelope.causation_id,
            channels: envelope.channels,
            data: serde_json::from_slice(&envelope.data).unwrap_or_default(),
        }
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.data.get(name)?.as_str()
    }
}

impl Draft {
    pub fn new<const N: usize>(event_type: &'static str, data: [(&str, Value); N]) -> Self {
        Self { event_type, data: fields(data), channels: Vec::new() }
    }

    /// A field that is left out when there is nothing to say.
    #[must_use]
    pub fn with(mut self, name: &str, value: Option<impl Into<Value>>) -> Self {
        self.data.extend(value.map(|value| (name.to_owned(), value.into())));
        self
    }

    /// Also to the connection that the command came over.
    #[must_use]
    pub fn to_sender(mut self, command: &Command) -> Self {
        self.channels.extend(sender(command));
        self
    }
}

impl Rejection {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), fields: Map::new(), is_recorded: true }
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }
}

impl Rejection {
    /// Told, and nothing is kept of it.
    #[must_use]
    pub fn unrecorded(self) -> Self {
        Self { is_recorded: false, ..self }
    }
}

/// The channel of the connection that a command came over.
pub fn sender(command: &Command) -> Option<Channel> {
    Channel::with_id("connection", command.connection.as_deref()?).ok()
}

pub fn fields<const N: usize>(data: [(&str, Value); N]) -> Map<String, Value> {
    data.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The fold of one entity's events, whatever its kind.
pub trait Entity: fmt::Debug + Send + Sync {
    /// Events come in the log's order; one that was seen before changes nothing.
    fn evolve(&mut self, event: &RecordedEvent);

    /// The sequence of the last event that was folded; 0 before the first.
    fn revision(&self) -> u64;

    /// Where the record of a command stands, if it was decided before.
    fn decided(&self, key: &str) -> Option<u64>;

    fn decide(&self, command: &Command, now: OffsetDateTime) -> Result<Decision, Rejection>;

    fn follow_ups(&self, event: &RecordedEvent) -> Vec<Draft>;

    /// Commands remembered, for who bounds the memory.
    fn size(&self) -> usize;
}

/// An aggregate's state together with what was decided on it.
#[derive(Debug)]
pub struct Folded<A: Aggregate> {
    state: A::State,
    revision: u64,
    /// Digest of a command's key → sequence of its record. Half a SHA-256: nobody finds two keys that share one.
    decided: BTreeMap<u128, u64>,
}

impl<A: Aggregate> Default for Folded<A> {
    fn default() -> Self {
        Self { state: A::State::default(), revision: 0, decided: BTreeMap::new() }
    }
}

impl<A: Aggregate> Folded<A> {
    pub fn state(&self) -> &A::State {
        &self.state
    }
}

impl<A: Aggregate> Entity for Folded<A> {
    fn evolve(&mut self, event: &RecordedEvent) {
        if event.sequence <= self.revision {
            return;
        }
        self.revision = event.sequence;
        if let Some(key) = &event.causation_id {
            // The first record of a command is the one that counts.
            self.decided.entry(digest(key)).or_insert(event.sequence);
        }
        A::evolve(&mut self.state, event);
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn decided(&self, key: &str) -> Option<u64> {
        self.decided.get(&digest(key)).copied()
    }

    fn decide(&self, command: &Command, now: OffsetDateTime) -> Result<Decision, Rejection> {
        A::decide(&self.state, command, now)
    }

    fn follow_ups(&self, event: &RecordedEvent) -> Vec<Draft> {
        A::follow_ups(&self.state, event)
    }

    fn size(&self) -> usize {
        self.decided.len()
    }
}

fn digest(key: &str) -> u128 {
    let digest: [u8; 32] = Sha256::digest(key).into();
    digest[..16].iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

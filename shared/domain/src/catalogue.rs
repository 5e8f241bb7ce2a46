//! The event catalogue: every event type, command, channel and session frame as data.
//! It is read once from TOML and then answers what is valid, where an event goes and who may join or publish.
//! It must not know which service asks, nor any wire's encoding.

mod access;
mod admit;
mod builtin;
mod channel_rule;
mod command_entry;
mod command_type;
mod entry;
mod event_type;
mod file;
mod frame;
mod loader;
mod mistake;
mod protecting;
mod schema;
mod steps;
mod template;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

pub use access::{Access, Snapshot};
pub use admit::{Admitted, Defaults, MAX_CHANNELS, Publication, Refusal, timestamped};
pub use channel_rule::{ChannelRule, Owner};
pub use command_type::{CommandRefusal, CommandType, Wish};
pub use event_type::{Delivery, EventType, MOST_WIRE_NAMES, WireForm, WireNames};
pub use frame::Frame;
pub use loader::is_ephemeral_category;
pub use mistake::{Mistake, Mistakes};
pub use schema::Violation;

/// All that is declared. Built once, then shared behind an `Arc`.
pub struct Catalogue {
    events: Vec<EventType>,
    by_type: HashMap<String, usize>,
    by_wire_name: HashMap<String, usize>,
    by_subject: HashMap<String, usize>,
    commands: Vec<CommandType>,
    by_command: HashMap<String, usize>,
    channels: Vec<ChannelRule>,
    by_channel: HashMap<String, usize>,
    frames: Vec<Frame>,
    turned_on: protecting::TurnedOn,
    turned_on_commands: protecting::TurnedOn,
}

impl Catalogue {
    /// The embedded catalogue alone.
    pub fn builtin() -> Result<Self, Mistakes> {
        Self::load(&[])
    }

    /// The embedded catalogue and an operator's files, given as (file name, text).
    /// Files may only add; everything that is wrong in any of them is reported together.
    pub fn load(extra: &[(String, String)]) -> Result<Self, Mistakes> {
        loader::load(builtin::FILES, extra)
    }

    pub fn by_type(&self, name: &str) -> Option<&EventType> {
        self.by_type.get(name).map(|&at| &self.events[at])
    }

    pub fn by_wire_name(&self, name: &str) -> Option<&EventType> {
        self.by_wire_name.get(name).map(|&at| &self.events[at])
    }

    /// By the category and the name that its subjects have.
    pub fn by_subject(&self, category: &str, name: &str) -> Option<&EventType> {
        self.by_subject.get(&loader::subject_key(category, name)).map(|&at| &self.events[at])
    }

    /// By the type's name or by any of its wire names.
    pub fn resolve(&self, name: &str) -> Option<&EventType> {
        self.by_type(name).or_else(|| self.by_wire_name(name))
    }

    pub fn events(&self) -> impl Iterator<Item = &EventType> {
        self.events.iter()
    }

    pub fn channels(&self) -> impl Iterator<Item = &ChannelRule> {
        self.channels.iter()
    }

    /// The frames of a session itself (`error`, `heartbeat`, …), which are no events.
    pub fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.frames.iter()
    }
}

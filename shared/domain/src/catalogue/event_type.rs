//! One event type as it is declared: where it goes, what it is called on a wire, what its data must look like.

use serde_json::Value;

use super::schema::{Schema, Violation};
use super::steps::Steps;
use super::template::Template;
use crate::channel::Channel;
use crate::identity::Role;
use crate::protection::Protection;
use crate::stream::StreamId;
use crate::token::Token;

#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// Stored in CRISIS, flushed before everything else, acknowledged by a person.
    Critical,
    /// Stored and replayed.
    Durable,
    /// Sent to who is there, never stored.
    Ephemeral,
}

/// How an event's data, always an object in the log, becomes a wire's argument.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WireForm {
    #[default]
    Object,
    /// The bare value of this field.
    Field(String),
    /// The array in this field.
    List(String),
    /// The bytes in this base64 field, as an attachment or a binary frame.
    Binary(String),
    /// A message of an application's own kind: the field `type` is its name on the wires, `payload` what they carry.
    Message,
}

/// The wire names of one event: an event of several is as many frames for who is in all its channels.
pub const MOST_WIRE_NAMES: usize = 8;

/// What the event is called on the wires: one name, or another one on channels of some kinds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WireNames {
    pub(super) default: String,
    pub(super) by_kind: Vec<(String, String)>,
}

impl WireNames {
    pub fn default_name(&self) -> &str {
        &self.default
    }

    pub fn name_for(&self, channel: &Channel) -> &str {
        let own = self.by_kind.iter().find(|(kind, _)| {
            channel.as_str().strip_prefix(kind.as_str()).is_some_and(|rest| rest.starts_with(':'))
        });
        own.map_or(&self.default, |(_, name)| name)
    }

    /// Every name, the default first.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.default.as_str()).chain(self.by_kind.iter().map(|(_, n)| n.as_str()))
    }

    /// Pairs of channel kind and the name used there.
    pub fn by_kind(&self) -> impl Iterator<Item = (&str, &str)> {
        self.by_kind.iter().map(|(kind, name)| (kind.as_str(), name.as_str()))
    }
}

pub struct EventType {
    /// `<category>.<rest>`.
    pub name: String,
    pub version: u16,
    pub summary: String,
    /// Where it is stored; `None` for ephemeral events, which are stored nowhere.
    pub stream: Option<StreamId>,
    pub delivery: Delivery,
    pub wire: WireNames,
    pub form: WireForm,
    /// A decision of the platform: no publication of it is admitted.
    pub closed: bool,
    /// The roles that may publish it without a claim.
    pub publishers: Vec<Role>,
    /// Data that is valid; the documents show it.
    pub example: Value,
    pub(super) category: Token,
    pub(super) token: Token,
    pub(super) entity: Template,
    pub(super) channels: Vec<Template>,
    /// What is personal in its data.
    pub protection: Option<Protection>,
    /// Which of many that tell how far something is are kept.
    pub(super) steps: Option<Steps>,
    pub(super) id_field: Option<String>,
    pub(super) schema: Schema,
}

impl EventType {
    pub fn category(&self) -> &Token {
        &self.category
    }

    /// The last token of its subjects.
    pub fn subject_name(&self) -> &Token {
        &self.token
    }

    /// The JSON Schema of its data.
    pub fn schema(&self) -> &Value {
        self.schema.document()
    }

    /// The entity template, as declared.
    pub fn entity_template(&self) -> &str {
        self.entity.text()
    }

    /// The channel templates, as declared.
    pub fn channel_templates(&self) -> impl Iterator<Item = &str> {
        self.channels.iter().map(Template::text)
    }

    pub fn validate(&self, data: &Value) -> Result<(), Violation> {
        self.schema.validate(data)
    }
}

impl std::fmt::Debug for EventType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventType").field("name", &self.name).finish_non_exhaustive()
    }
}

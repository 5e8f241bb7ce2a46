//! The files as they are written. Every entry is read on its own, so that one mistake hides no other.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::channel_rule::Owner;
use super::command_entry::CommandEntry;
use super::event_type::{Delivery, WireForm};
use super::mistake::Mistake;

#[derive(Default)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) category: Option<String>,
    pub(super) types: BTreeMap<String, Value>,
    pub(super) channels: Vec<ChannelEntry>,
    pub(super) events: Vec<EventEntry>,
    pub(super) commands: Vec<CommandEntry>,
    pub(super) frames: Vec<FrameEntry>,
    pub(super) turned_on: Vec<TurnOnEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventEntry {
    /// The type's name behind its category: `qr.generated`.
    pub(super) name: String,
    pub(super) summary: String,
    #[serde(default = "first_version")]
    pub(super) version: u16,
    #[serde(default = "durable")]
    pub(super) delivery: Delivery,
    /// Template of what the event is about, a token of its subject.
    pub(super) entity: String,
    /// Templates; a publisher's audience comes on top.
    pub(super) channels: Vec<String>,
    /// Name on the wires; else the type's with `:` for `.`.
    pub(super) wire: Option<String>,
    /// Other names on channels of some kinds: `{ call = "call_data" }`. Seven at most.
    #[serde(default)]
    pub(super) wire_for: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) form: WireForm,
    /// A decision of the platform, which nobody publishes.
    #[serde(default)]
    pub(super) closed: bool,
    /// Roles that publish it without a claim.
    #[serde(default = "backends")]
    pub(super) publishers: Vec<String>,
    /// A field that gets the event's id when it is absent.
    pub(super) id_field: Option<String>,
    /// What is personal in it, and whose.
    pub(super) protect: Option<ProtectEntry>,
    /// For what tells how far something is: one event of each step is kept, and the last.
    pub(super) steps: Option<StepsEntry>,
    pub(super) example: Value,
    /// JSON Schema, completed by [`super::schema`].
    pub(super) schema: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StepsEntry {
    /// JSON Pointer to how far it is, a whole number.
    pub(super) at: String,
    /// JSON Pointer to how far it goes.
    pub(super) upto: String,
    pub(super) size: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProtectEntry {
    /// The kind of person: `user`, `contact`.
    pub(super) person: String,
    /// The field with the person's id.
    pub(super) id: String,
    /// Texts that are sealed with the person's key; a dot leads into an object.
    pub(super) fields: Vec<String>,
    /// Whether every tenant has them sealed; otherwise those that turned it on.
    #[serde(default)]
    pub(super) always: bool,
    /// Of a command: the event that it becomes, whose fields of these names a tenant turns on.
    pub(super) like: Option<String>,
}

/// What a tenant has sealed besides what always is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TurnOnEntry {
    pub(super) tenant: String,
    /// `contact.created` for all that can be sealed of it, or `message.received/message.content`.
    pub(super) fields: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChannelEntry {
    pub(super) name: String,
    pub(super) summary: String,
    #[serde(default)]
    pub(super) roles: Vec<String>,
    pub(super) owner: Option<Owner>,
    #[serde(default)]
    pub(super) auto_join: bool,
    /// `user_{id}` for `user:{id}`.
    #[serde(default)]
    pub(super) aliases: Vec<String>,
    /// A view, or one entry of it: `calls/{sid}`.
    pub(super) snapshot: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FrameEntry {
    pub(super) name: String,
    pub(super) summary: String,
    pub(super) wires: Vec<String>,
    pub(super) example: Value,
    pub(super) schema: Value,
}

fn first_version() -> u16 {
    1
}

fn durable() -> Delivery {
    Delivery::Durable
}

fn backends() -> Vec<String> {
    vec!["service".to_owned(), "admin".to_owned()]
}

pub(super) fn parse(name: &str, text: &str, mistakes: &mut Vec<Mistake>) -> File {
    let mut file = File { name: name.to_owned(), ..File::default() };
    let table = match text.parse::<toml::Table>() {
        Ok(table) => table,
        Err(error) => {
            mistakes.push(mistake(name, None, error.to_string().trim_end().to_owned()));
            return file;
        }
    };
    for (key, value) in table {
        match key.as_str() {
            "category" => file.category = value.as_str().map(str::to_owned),
            "types" => file.types = one(name, "types", value, mistakes).unwrap_or_default(),
            "event" => file.events = entries(name, "event", value, mistakes),
            "command" => file.commands = entries(name, "command", value, mistakes),
            "channel" => file.channels = entries(name, "channel", value, mistakes),
            "protection" => file.turned_on = entries(name, "protection", value, mistakes),
            "frame" => file.frames = entries(name, "frame", value, mistakes),
            other => mistakes.push(mistake(
                name,
                Some(other.to_owned()),
                "is not known here; use category, [types], [[channel]], [[event]], [[command]], [[protection]] or [[frame]]"
                    .to_owned(),
            )),
        }
    }
    file
}

fn entries<T: DeserializeOwned>(
    file: &str,
    kind: &str,
    value: toml::Value,
    mistakes: &mut Vec<Mistake>,
) -> Vec<T> {
    let toml::Value::Array(values) = value else {
        let problem = format!("must be written [[{kind}]]");
        mistakes.push(mistake(file, Some(kind.to_owned()), problem));
        return Vec::new();
    };
    let named = |(index, value): (usize, toml::Value)| {
        let name = value.get("name").and_then(toml::Value::as_str);
        let entry = name.map_or_else(|| format!("{kind} {}", index + 1), |n| format!("{kind} {n}"));
        one(file, &entry, value, mistakes)
    };
    values.into_iter().enumerate().filter_map(named).collect()
}

fn one<T: DeserializeOwned>(
    file: &str,
    entry: &str,
    value: toml::Value,
    mistakes: &mut Vec<Mistake>,
) -> Option<T> {
    value
        .try_into()
        .map_err(|error: toml::de::Error| {
            mistakes.push(mistake(file, Some(entry.to_owned()), error.message().to_owned()));
        })
        .ok()
}

pub(super) fn mistake(file: &str, entry: Option<String>, problem: String) -> Mistake {
    Mistake { file: file.to_owned(), entry, problem }
}

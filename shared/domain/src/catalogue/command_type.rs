//! One command as it is declared: what clients call it, who may send it, what it is about and what it must say.

use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::Catalogue;
use super::schema::{Schema, Violation};
use super::template::Template;
use crate::command::{Actor, Command, MAX_ID};
use crate::identity::{Identity, Role};
use crate::owned_id;
use crate::protection::Protection;

/// Stands for whoever sends the command in its entity's template.
pub(super) const ACTOR: &str = "actor";

pub struct CommandType {
    /// `<category>.<rest>`.
    pub name: String,
    pub summary: String,
    /// What clients call it, the best name first.
    pub wires: Vec<String>,
    /// Who may send it without a `publish` claim.
    pub roles: Vec<Role>,
    /// The field that an argument which is no object stands for.
    pub bare: Option<String>,
    /// What an application is told that listens for failures only.
    pub failure: Option<String>,
    /// The field that is minted for the caller.
    pub minted: Option<String>,
    /// The field that is the connection's latest open conversation when it is absent.
    pub conversation: Option<String>,
    /// Data that is valid; the documents show it.
    pub example: Value,
    /// What is personal in its data; the id [`ACTOR`] is who sends it.
    pub protection: Option<Protection>,
    /// The event it becomes, like which it is sealed where a tenant has turned that on.
    pub(super) sealed_like: Option<String>,
    /// The field that is the command's id when it is absent.
    pub(super) id_field: Option<String>,
    pub(super) entity: Template,
    /// The entity is followed by a number of its own, which is left out.
    pub(super) numbered: bool,
    pub(super) schema: Schema,
}

/// What a caller wants and what its connection knows.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    pub argument: Option<Value>,
    /// The caller's own id.
    pub id: Option<String>,
    /// The id where the caller has none.
    pub fallback: String,
    pub connection: Option<&'a str>,
    /// The connection's latest open conversation.
    pub conversation: Option<&'a str>,
    pub now: OffsetDateTime,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommandRefusal {
    #[error("neither the caller's role nor its claims allow it")]
    NotAllowed,
    #[error("no conversation is open")]
    NoConversation,
    #[error("an id has 1 to {MAX_ID} bytes, no control characters and no white space at its ends")]
    BadId,
    #[error("data{}: {}", .0.pointer, .0.reason)]
    Invalid(Violation),
}

impl CommandType {
    pub fn category(&self) -> &str {
        self.name.split_once('.').map_or(&*self.name, |(category, _)| category)
    }

    /// The JSON Schema of its data.
    pub fn schema(&self) -> &Value {
        self.schema.document()
    }

    /// The entity template, as declared.
    pub fn entity_template(&self) -> &str {
        self.entity.text()
    }

    /// The fields that need not be sent, and what they become.
    pub fn filled_in(&self) -> impl Iterator<Item = (&str, &'static str)> {
        let given = [
            (&self.minted, "minted for the caller"),
            (&self.conversation, "the latest conversation that is open on the connection"),
            (&self.id_field, "the command's id"),
        ];
        given.into_iter().filter_map(|(field, what)| Some((field.as_deref()?, what)))
    }

    /// By its role, or by the globs of its `publish` claim on the command's name or one of those that clients use.
    pub fn allows(&self, identity: &Identity) -> bool {
        let mut names = self.wires.iter().chain([&self.name]);
        let by_claim = names.any(|name| identity.publish.iter().any(|glob| glob.matches(name)));
        let narrowed = identity.role == Role::Service && !identity.publish.is_empty();
        by_claim || (!narrowed && self.roles.contains(&identity.role))
    }

    /// The command that a caller wants, ready to be stored.
    pub fn command(&self, identity: &Identity, wish: Wish<'_>) -> Result<Command, CommandRefusal> {
        if !self.allows(identity) {
            return Err(CommandRefusal::NotAllowed);
        }
        let data = self.data(wish.argument).map_err(CommandRefusal::Invalid)?;
        let id = wish.id.unwrap_or(wish.fallback);
        if id.is_empty() || id.len() > MAX_ID || id.trim() != id || id.chars().any(char::is_control)
        {
            return Err(CommandRefusal::BadId);
        }
        let mut command = Command {
            id,
            kind: self.name.clone(),
            tenant: identity.tenant.clone(),
            entity: String::new(),
            actor: Actor::from(identity),
            connection: wish.connection.map(str::to_owned),
            reply: None,
            time: wish.now,
            data,
        };
        self.complete(&mut command, wish.conversation)?;
        command.entity = self.entity_of(&command)?;
        Ok(command)
    }

    /// An object as it is; anything else is the value of the field that a bare argument stands for.
    fn data(&self, argument: Option<Value>) -> Result<Map<String, Value>, Violation> {
        let data = match (argument, &self.bare) {
            (Some(Value::Object(data)), _) => data,
            (None | Some(Value::Null), _) => Map::new(),
            // Applications that count their records send the number.
            (Some(Value::Number(id)), Some(field)) => {
                Map::from_iter([(field.clone(), Value::String(id.to_string()))])
            }
            (Some(value), Some(field)) => Map::from_iter([(field.clone(), value)]),
            (Some(_), None) => {
                let reason = "is to be an object".to_owned();
                return Err(Violation { pointer: String::new(), reason });
            }
        };
        match &self.minted {
            Some(field) if data.contains_key(field) => {
                let reason = "is not the caller's to choose".to_owned();
                Err(Violation { pointer: format!("/{field}"), reason })
            }
            _ => Ok(data),
        }
    }

    /// Fills in what the caller need not say, and looks whether everything is as it must be.
    fn complete(
        &self,
        command: &mut Command,
        conversation: Option<&str>,
    ) -> Result<(), CommandRefusal> {
        if let Some(field) = &self.conversation
            && !command.data.contains_key(field)
        {
            let open = conversation.ok_or(CommandRefusal::NoConversation)?;
            command.data.insert(field.clone(), open.into());
        }
        if let Some(field) = &self.minted {
            let minted = owned_id::mint(&command.tenant, &command.actor.user, &command.key());
            command.data.insert(field.clone(), minted.into());
        }
        if let Some(field) = &self.id_field
            && !command.data.contains_key(field)
        {
            command.data.insert(field.clone(), command.id.clone().into());
        }
        let data = Value::Object(std::mem::take(&mut command.data));
        let valid = self.schema.validate(&data).map_err(CommandRefusal::Invalid);
        if let Value::Object(data) = data {
            command.data = data;
        }
        valid
    }

    fn entity_of(&self, command: &Command) -> Result<String, CommandRefusal> {
        let mut data = command.data.clone();
        data.insert(ACTOR.to_owned(), command.actor.user.clone().into());
        let unfilled = |pointer: String| {
            CommandRefusal::Invalid(Violation { pointer, reason: "is required".to_owned() })
        };
        let filled =
            self.entity.fill(&Value::Object(data)).map_err(|hole| unfilled(hole.pointer))?;
        let entity = filled.ok_or_else(|| unfilled(String::new()))?;
        Ok(if self.numbered { without_number(&entity).to_owned() } else { entity })
    }
}

/// `c-9` of `c-9-1`; a text without a number behind a dash is itself.
fn without_number(text: &str) -> &str {
    let is_number = |tail: &str| !tail.is_empty() && tail.bytes().all(|b| b.is_ascii_digit());
    match text.rsplit_once('-') {
        Some((head, tail)) if is_number(tail) && !head.is_empty() => head,
        _ => text,
    }
}

impl Catalogue {
    /// By its name or by what clients call it.
    pub fn command(&self, name: &str) -> Option<&CommandType> {
        self.by_command.get(name).map(|&at| &self.commands[at])
    }

    pub fn commands(&self) -> impl Iterator<Item = &CommandType> {
        self.commands.iter()
    }
}

impl std::fmt::Debug for CommandType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommandType").field("name", &self.name).finish_non_exhaustive()
    }
}

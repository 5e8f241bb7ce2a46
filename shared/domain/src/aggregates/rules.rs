//! What several aggregates refuse alike.

use serde_json::Value;

use crate::aggregate::Rejection;
use crate::command::{Actor, Command};
use crate::identity::Role;

/// Agents, administrators and backends: those who work with what is everybody's.
pub(super) fn staff(actor: &Actor) -> Result<(), Rejection> {
    match actor.role {
        Role::Agent | Role::Admin | Role::Service => Ok(()),
        Role::Guest | Role::User => {
            Err(Rejection::new("forbidden", "Your role does not allow this."))
        }
    }
}

/// A text that the edge has made sure of; a command that came another way may lack it.
pub(super) fn required<'a>(command: &'a Command, name: &str) -> Result<&'a str, Rejection> {
    command.field(name).filter(|text| !text.is_empty()).ok_or_else(|| {
        Rejection::new("invalid_data", format!("{name} is required, as text.")).with("field", name)
    })
}

pub(super) fn unknown_kind(command: &Command) -> Rejection {
    Rejection::new("unknown_command", format!("{} is no command of this kind.", command.kind))
}

pub(super) fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

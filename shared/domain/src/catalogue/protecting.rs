//! Whose fields are sealed: those that always are, and what a tenant has turned on besides (`[[protection]]`).
//!
//! It says what is to be sealed and with whose key; it must not know keys.

use std::collections::HashMap;

use super::Catalogue;
use super::command_type::{ACTOR, CommandType};
use super::event_type::EventType;
use super::file::TurnOnEntry;
use crate::command::Command;
use crate::protection::{Protection, Subject};
use crate::token::Tenant;

/// What tenants have turned on, by the type's name.
pub(super) type TurnedOn = HashMap<String, HashMap<Tenant, Protection>>;

impl Catalogue {
    /// What is sealed of a tenant's events of a type.
    pub fn protection<'a>(
        &'a self,
        tenant: &Tenant,
        event: &'a EventType,
    ) -> Option<&'a Protection> {
        in_force(event.protection.as_ref()?, self.turned_on.get(&event.name), tenant)
    }

    /// What is sealed of a command, and whose it is.
    pub fn protected(&self, command: &Command) -> Option<(&Protection, Subject)> {
        let kind = self.command(&command.kind)?;
        let on = self.turned_on_commands.get(&kind.name);
        let protection = in_force(kind.protection.as_ref()?, on, &command.tenant)?;
        let subject = if protection.id_field == ACTOR {
            Subject::new(&command.tenant, &protection.kind, &command.actor.user)
        } else {
            protection.subject(&command.tenant, &command.data)?
        };
        Some((protection, subject))
    }
}

fn in_force<'a>(
    declared: &'a Protection,
    turned_on: Option<&'a HashMap<Tenant, Protection>>,
    tenant: &Tenant,
) -> Option<&'a Protection> {
    if declared.always { Some(declared) } else { turned_on?.get(tenant) }
}

/// Adds what an entry turns on; everything that is wrong with it.
pub(super) fn turn_on<'a>(
    entry: &TurnOnEntry,
    event: impl Fn(&str) -> Option<&'a EventType>,
    turned_on: &mut TurnedOn,
) -> Vec<String> {
    let tenant = match Tenant::parse(&entry.tenant) {
        Ok(tenant) => tenant,
        Err(error) => return vec![format!("tenant: {error}")],
    };
    let mut problems = Vec::new();
    for place in &entry.fields {
        let (name, field) = match place.split_once('/') {
            Some((name, field)) => (name, Some(field)),
            None => (&**place, None),
        };
        let declared = event(name).and_then(|event| event.protection.as_ref());
        let fields = declared.map(|declared| named(declared, field));
        match (declared, fields) {
            (Some(declared), Some(fields)) if !fields.is_empty() => {
                let on = turned_on.entry(name.to_owned()).or_default().entry(tenant.clone());
                let nothing = || Protection { fields: Vec::new(), ..declared.clone() };
                let on = on.or_insert_with(nothing);
                on.fields.extend(fields);
                // In the order of their declaration, each once.
                on.fields =
                    declared.fields.iter().filter(|it| on.fields.contains(it)).cloned().collect();
            }
            _ => problems
                .push(format!("fields: {place} is nothing that can be sealed; see EVENTS.md")),
        }
    }
    problems
}

/// The declared fields that an entry means.
fn named(declared: &Protection, field: Option<&str>) -> Vec<String> {
    let is_meant = |it: &&String| field.is_none_or(|field| *it == field);
    declared.fields.iter().filter(is_meant).cloned().collect()
}

/// A command is sealed like the event that it becomes: what is turned on for that is turned on for it.
pub(super) fn turned_on_commands(commands: &[CommandType], events: &TurnedOn) -> TurnedOn {
    let mut all = TurnedOn::new();
    for command in commands {
        let (Some(declared), Some(becomes)) = (&command.protection, &command.sealed_like) else {
            continue;
        };
        for (tenant, on) in events.get(becomes).into_iter().flatten() {
            let fields: Vec<_> =
                declared.fields.iter().filter(|it| on.fields.contains(it)).cloned().collect();
            if !fields.is_empty() {
                let narrowed = Protection { fields, ..declared.clone() };
                all.entry(command.name.clone()).or_default().insert(tenant.clone(), narrowed);
            }
        }
    }
    all
}

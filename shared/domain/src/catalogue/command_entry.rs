//! A command's entry by itself: everything that is wrong with it, or what it declares.

use serde::Deserialize;
use serde_json::Value;

use super::command_type::{ACTOR, CommandType};
use super::entry::{protection, protection_problems, roles, tokens};
use super::file::ProtectEntry;
use super::schema::{NamedTypes, Schema};
use super::template::{Hole, Template};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CommandEntry {
    /// The command's name behind its category: `acknowledge`.
    pub(super) name: String,
    summary: String,
    /// What clients call it; else its name with `:` for `.`.
    #[serde(default)]
    wires: Vec<String>,
    /// Roles that send it without a claim.
    roles: Vec<String>,
    /// Template of what decides it, from its data; `{actor}` is who sends it.
    entity: String,
    /// What the entity's template gives ends in a number that is not the entity's.
    #[serde(default)]
    numbered: bool,
    /// The field that the platform mints for the caller.
    minted: Option<String>,
    /// The field that is the connection's latest open conversation when it is absent.
    conversation: Option<String>,
    /// A field that gets the command's id when it is absent.
    id_field: Option<String>,
    /// The field that an argument which is no object stands for.
    bare: Option<String>,
    /// What an application hears that listens for failures only.
    failure: Option<String>,
    /// What is personal in it, and whose; the person `{actor}` is who sends it.
    protect: Option<ProtectEntry>,
    /// Data as it is stored, with what the platform fills in.
    example: Value,
    schema: Value,
}

pub(super) fn command_type(
    category: &str,
    entry: CommandEntry,
    types: &NamedTypes,
) -> Result<CommandType, Vec<String>> {
    let mut problems = Vec::new();
    let mut keep = |problem: String| problems.push(problem);
    let named = tokens(category, &entry.name).map_err(&mut keep).is_ok();
    let entity = Template::parse(&entry.entity).map_err(|e| keep(format!("entity: {e}"))).ok();
    let roles = roles(&entry.roles).map_err(|e| keep(format!("roles: {e}"))).ok();
    let schema =
        Schema::of_event(&entry.schema, types).map_err(|e| keep(format!("schema: {e}"))).ok();
    let sealed_like = entry.protect.as_ref().and_then(|protect| protect.like.clone());
    let protection = entry.protect.map(protection).transpose().map_err(&mut keep).ok().flatten();
    let (true, Some(entity), Some(roles), Some(schema)) = (named, entity, roles, schema) else {
        return Err(problems);
    };
    let name = format!("{category}.{}", entry.name);
    let wires = if entry.wires.is_empty() { vec![name.replace('.', ":")] } else { entry.wires };
    let command = CommandType {
        name,
        summary: entry.summary,
        wires,
        roles,
        bare: entry.bare,
        failure: entry.failure,
        minted: entry.minted,
        conversation: entry.conversation,
        id_field: entry.id_field,
        example: entry.example,
        protection,
        sealed_like,
        entity,
        numbered: entry.numbered,
        schema,
    };
    problems.extend(data_problems(&command));
    if problems.is_empty() { Ok(command) } else { Err(problems) }
}

/// Where the schema, the entity and the example of one command disagree.
fn data_problems(command: &CommandType) -> Vec<String> {
    let mut problems = Vec::new();
    let actor = [ACTOR.to_owned()];
    let missing = command
        .entity
        .holes()
        .filter_map(Hole::required_path)
        .filter(|path| *path != actor && !command.schema.requires(path));
    problems.extend(missing.map(|path| {
        format!("entity: needs {}, which the schema does not require", path.join("."))
    }));
    if command.entity.holes().any(Hole::is_optional) {
        problems.push(format!("entity: {} must always be filled", command.entity.text()));
    }
    let fields = [&command.minted, &command.conversation, &command.id_field, &command.bare];
    for field in fields.into_iter().flatten() {
        if !command.schema.has_property(field) {
            problems.push(format!("{field} is no property of the schema"));
        }
    }
    if let Some(protection) = &command.protection {
        if !protection.always && command.sealed_like.is_none() {
            problems.push("protect: needs always, or like with the event it becomes".to_owned());
        }
        problems.extend(protection_problems(protection, &command.schema));
    }
    if let Err(violation) = command.schema.validate(&command.example) {
        problems.push(format!("example{}: {}", violation.pointer, violation.reason));
    }
    problems
}

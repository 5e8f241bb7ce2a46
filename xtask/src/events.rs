//! `docs/EVENTS.md`, made from the built-in catalogue: its events, and the commands that clients send.

use std::fmt::Write as _;

use domain::StreamId;
use domain::catalogue::{Catalogue, CommandType, Delivery, EventType};
use domain::protection::Protection;
use serde_json::Value;

const HEAD: &str = "\
# Events

Every event type of the built-in catalogue, by category.
This document is generated (`cargo xtask docs`) from `shared/catalogue`; a test compares the two.

- The *type* is what publishers name and what `ce-type` holds; the *wire name* is what clients see.
- A wire name in parentheses is used on channels of that kind alone.
- The *channels* are filled from the data; `?` stands behind a field that may be missing, and then the channel is left out.
- *Delivery* is `durable` (stored and replayed), `critical` (stored in CRISIS, given first) or `ephemeral` (sent to who is there, never stored).
- *Published by* names the roles that need no claim; `closed` is a decision of the platform, which nobody publishes.
- A field in italics may be left out; `timestamp` is added to every event that has none.
- A field that is not named is refused (`invalid_data`), at the top and inside of what has a form of its own; where *others* are named too, they are kept. `GET /asyncapi.json` has every form whole.
- What is *sealed* holds no plain text in the log: it opens with the key of that person alone, for who may read the event, and reads `[erased]` once the key is destroyed. Where it must be turned on, a tenant does that by [`[[protection]]`](FILES.md#catalogue_dir-events-of-ones-own).
- An operator's folder (`CATALOGUE_DIR`) adds types, channels and events of the same form, and changes none of these.

";

const COMMANDS: &str = "\
## Commands

What clients ask for, over every wire and by `POST /v1/commands`; [PROTOCOL.md](PROTOCOL.md#commands) says how they are answered.

- Sent by the roles that need no claim; a `publish` claim whose pattern fits one of the names allows it too.
- What is *filled in* need not be sent; a *bare* argument stands for that field.
- What is *sealed* is sealed for who sends it (`actor`), and what becomes of it for the person that the event is about.
- *Decided by* is the entity whose events are its state; commands about one entity are decided one after the other.

";

pub(crate) fn document() -> Result<String, String> {
    let catalogue = Catalogue::builtin().map_err(|mistakes| mistakes.to_string())?;
    Ok(write(&catalogue))
}

fn write(catalogue: &Catalogue) -> String {
    let mut text = HEAD.to_owned();
    let mut category = "";
    for event in catalogue.events() {
        if event.category().as_str() != category {
            category = event.category().as_str();
            let stream = StreamId::of_category(category).map_or("stored nowhere", StreamId::name);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "## {category} ({stream})\n");
        }
        section(&mut text, event);
    }
    text.push_str(COMMANDS);
    for command in catalogue.commands() {
        command_section(&mut text, command);
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn command_section(text: &mut String, command: &CommandType) {
    let wires = list(command.wires.iter().map(|name| format!("`{name}`")));
    let roles = list(command.roles.iter().map(|role| role.name().to_owned()));
    let _ = writeln!(text, "### Command `{}`\n\n{}\n", command.name, command.summary);
    let mut line = |name: &str, what: String| {
        let _ = writeln!(text, "- {name}: {what}");
    };
    line("Names", wires.unwrap_or_default());
    line("Sent by", roles.unwrap_or_else(|| "a `publish` claim alone".to_owned()));
    line("Decided by", format!("`{}` `{}`", command.category(), command.entity_template()));
    line("Fields", fields(command.schema()));
    let filled: Vec<_> =
        command.filled_in().map(|(field, what)| format!("`{field}` ({what})")).collect();
    if !filled.is_empty() {
        line("Filled in", filled.join(", "));
    }
    if let Some(field) = &command.bare {
        line("Bare", format!("`{field}`"));
    }
    if let Some(failure) = &command.failure {
        line("Told on failure", format!("`{failure}`"));
    }
    if let Some(protection) = &command.protection {
        let _ = writeln!(text, "{}", sealed(protection));
    }
    text.push('\n');
}

/// What is personal in it, and whose key seals it.
fn sealed(protection: &Protection) -> String {
    let when = if protection.always { "Always sealed" } else { "Sealed where turned on" };
    let fields = list(protection.fields.iter().map(|field| format!("`{field}`")));
    let (kind, id) = (&protection.kind, &protection.id_field);
    format!("- {when}: {}, for the {kind} `{id}`", fields.unwrap_or_default())
}

fn section(text: &mut String, event: &EventType) {
    let delivery = match event.delivery {
        Delivery::Critical => "critical",
        Delivery::Durable => "durable",
        Delivery::Ephemeral => "ephemeral",
    };
    let channels = list(event.channel_templates().map(|name| format!("`{name}`")));
    let lines = [
        format!("### `{}`\n", event.name),
        format!("{}\n", event.summary),
        format!("- Wire name: {}", wire_names(event)),
        format!("- Channels: {}", channels.unwrap_or_else(|| "those of its audience".to_owned())),
        format!("- Subject: `{}`", subject(event)),
        format!("- Delivery: {delivery}, version {}", event.version),
        format!("- Published by: {}", publishers(event)),
        format!("- Fields: {}", fields(event.schema())),
    ];
    let sealed = event.protection.as_ref().map(sealed);
    for line in lines.into_iter().chain(sealed) {
        let _ = writeln!(text, "{line}");
    }
    text.push('\n');
}

/// With the entity as it is declared; its values are encoded where they are no token.
fn subject(event: &EventType) -> String {
    let root = if event.stream.is_some() { "events" } else { "live" };
    let (category, name) = (event.category(), event.subject_name());
    format!("{root}.<tenant>.{category}.{}.{name}", event.entity_template())
}

fn wire_names(event: &EventType) -> String {
    let others = event.wire.by_kind().map(|(kind, name)| format!(", `{name}` (`{kind}:…`)"));
    format!("`{}`{}", event.wire.default_name(), others.collect::<String>())
}

fn publishers(event: &EventType) -> String {
    if event.closed {
        return "closed".to_owned();
    }
    let roles = event.publishers.iter().map(|role| role.name().to_owned());
    list(roles).unwrap_or_else(|| "a `publish` claim alone".to_owned())
}

fn fields(schema: &Value) -> String {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let fields = schema["properties"].as_object().into_iter().flatten();
    let fields = fields.filter(|(name, _)| *name != "timestamp").map(|(name, _)| {
        if required.contains(&name.as_str()) { format!("`{name}`") } else { format!("*`{name}`*") }
    });
    let others =
        (schema["additionalProperties"] != Value::Bool(false)).then(|| "*others*".to_owned());
    list(fields.chain(others)).unwrap_or_else(|| "none".to_owned())
}

fn list(items: impl Iterator<Item = String>) -> Option<String> {
    let items: Vec<String> = items.collect();
    (!items.is_empty()).then(|| items.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_of_events_is_what_the_catalogue_says() {
        let written = std::fs::read_to_string(crate::step::root().join("docs/EVENTS.md")).unwrap();
        assert!(
            written == document().unwrap(),
            "docs/EVENTS.md is out of date: run `cargo xtask docs`"
        );
    }
}

//! One entry by itself: everything that is wrong with it, or what it declares.

use super::channel_rule::{ChannelRule, SnapshotRule};
use super::event_type::{Delivery, EventType, WireForm, WireNames};
use super::file::{ChannelEntry, EventEntry, ProtectEntry};
use super::loader::is_ephemeral_category;
use super::schema::{NamedTypes, Schema};
use super::steps::Steps;
use super::template::{Hole, Template};
use crate::channel::Channel;
use crate::identity::Role;
use crate::protection::Protection;
use crate::stream::StreamId;
use crate::token::Token;

pub(super) fn roles(names: &[String]) -> Result<Vec<Role>, String> {
    names
        .iter()
        .map(|name| Role::parse(name).ok_or_else(|| format!("{name:?} is no role")))
        .collect()
}

pub(super) fn channel_rule(entry: &ChannelEntry) -> Result<ChannelRule, String> {
    let template = Template::parse(&entry.name).map_err(|problem| format!("name: {problem}"))?;
    let is_pattern = template.holes().count() > 0;
    let shape = template.shape();
    let plain = |name: &str| Channel::parse(name).is_ok_and(|channel| channel.as_str() == name);
    let well_formed = match shape.strip_suffix(":{}") {
        Some(kind) => plain(kind) && !kind.contains([':', '{']),
        None => plain(&shape) && !is_pattern,
    };
    if !well_formed {
        return Err("a channel is a plain name or a kind and a hole: campaign:{id}".to_owned());
    }
    if entry.owner.is_some() && !is_pattern {
        return Err("owner: only a channel with a hole has one".to_owned());
    }
    let alias = |alias: &String| {
        alias.strip_suffix("{id}").map(str::to_owned).filter(|prefix| plain(prefix) && is_pattern)
    };
    Ok(ChannelRule {
        name: entry.name.clone(),
        summary: entry.summary.clone(),
        roles: roles(&entry.roles)?,
        owner: entry.owner,
        auto_join: entry.auto_join,
        alias_prefixes: entry
            .aliases
            .iter()
            .map(|text| alias(text).ok_or_else(|| format!("aliases: {text:?} must end in {{id}}")))
            .collect::<Result<_, _>>()?,
        snapshot: entry.snapshot.as_deref().map(snapshot_rule),
    })
}

fn snapshot_rule(text: &str) -> SnapshotRule {
    match text.split_once("/{") {
        Some((view, _)) => SnapshotRule { view: view.to_owned(), keyed: true },
        None => SnapshotRule { view: text.to_owned(), keyed: false },
    }
}

/// Everything that is wrong with the event, or the event.
pub(super) fn event_type(
    category: &str,
    entry: EventEntry,
    types: &NamedTypes,
) -> Result<EventType, Vec<String>> {
    let mut problems = Vec::new();
    let stream = stream_of(category, entry.delivery, &mut problems);
    let mut keep = |problem: String| problems.push(problem);
    let tokens = tokens(category, &entry.name).map_err(&mut keep).ok();
    let entity = Template::parse(&entry.entity).map_err(|e| keep(format!("entity: {e}"))).ok();
    let mut channels = Vec::with_capacity(entry.channels.len());
    for text in &entry.channels {
        channels.extend(Template::parse(text).map_err(|e| keep(format!("channels: {e}"))));
    }
    let publishers = roles(&entry.publishers).map_err(|e| keep(format!("publishers: {e}"))).ok();
    let schema =
        Schema::of_event(&entry.schema, types).map_err(|e| keep(format!("schema: {e}"))).ok();
    if entry.protect.as_ref().is_some_and(|protect| protect.like.is_some()) {
        keep("protect.like: is for commands".to_owned());
    }
    let protection = entry.protect.map(protection).transpose().map_err(&mut keep).ok().flatten();
    let steps = entry.steps.map(Steps::of).transpose().map_err(&mut keep).ok().flatten();
    let (Some((category, token)), Some(entity), Some(publishers), Some(schema)) =
        (tokens, entity, publishers, schema)
    else {
        return Err(problems);
    };
    let name = format!("{category}.{}", entry.name);
    let event = EventType {
        wire: WireNames {
            default: entry.wire.unwrap_or_else(|| name.replace('.', ":")),
            by_kind: entry.wire_for.into_iter().collect(),
        },
        name,
        version: entry.version,
        summary: entry.summary,
        stream,
        delivery: entry.delivery,
        form: entry.form,
        closed: entry.closed,
        publishers,
        example: entry.example,
        category,
        token,
        entity,
        channels,
        id_field: entry.id_field,
        protection,
        steps,
        schema,
    };
    problems.extend(data_problems(&event));
    if problems.is_empty() { Ok(event) } else { Err(problems) }
}

pub(super) fn protection(entry: ProtectEntry) -> Result<Protection, String> {
    let kind = Token::parse(&entry.person).map_err(|error| format!("protect.person: {error}"))?;
    let ProtectEntry { id, fields, always, .. } = entry;
    if fields.is_empty() {
        return Err("protect: names no fields".to_owned());
    }
    Ok(Protection { kind, id_field: id, fields, always })
}

/// Where a schema has no such field, or one of which no reader expects a text where it is sealed.
pub(super) fn protection_problems(protection: &Protection, schema: &Schema) -> Vec<String> {
    let unknown = |path: &&String| !schema.has_text_or_list(path);
    let told = |path: &String| format!("protect: {path} is no text or list of the schema");
    protection.fields.iter().filter(unknown).map(told).collect()
}

fn stream_of(category: &str, delivery: Delivery, problems: &mut Vec<String>) -> Option<StreamId> {
    let stream = StreamId::of_category(category);
    let problem = match (stream, delivery) {
        (None, Delivery::Ephemeral) if is_ephemeral_category(category) => None,
        (None, _) if is_ephemeral_category(category) => {
            Some(format!("category {category} is stored nowhere: delivery must be \"ephemeral\""))
        }
        (None, _) => Some(format!("category {category} belongs to no stream")),
        (Some(stream), Delivery::Critical) if stream != StreamId::Crisis => {
            Some("only categories of the CRISIS stream may be critical".to_owned())
        }
        (Some(_), _) => None,
    };
    problems.extend(problem);
    stream.filter(|_| delivery != Delivery::Ephemeral)
}

pub(super) fn tokens(category: &str, name: &str) -> Result<(Token, Token), String> {
    let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.".contains(&b);
    if !name.bytes().all(lower) || name.split('.').any(str::is_empty) {
        return Err("name: use a-z, 0-9, _ and -, in parts separated by dots".to_owned());
    }
    let token = |text: &str| Token::parse(text).map_err(|error| format!("name: {error}"));
    Ok((token(category)?, token(&name.replace('.', "-"))?))
}

/// Where the schema, the templates, the form and the example of one event disagree.
fn data_problems(event: &EventType) -> Vec<String> {
    let mut problems = Vec::new();
    if event.version == 0 {
        problems.push("version: begins at 1".to_owned());
    }
    for template in event.channels.iter().chain([&event.entity]) {
        let missing = template
            .holes()
            .filter_map(|h| h.required_path())
            .filter(|p| !event.schema.requires(p));
        problems.extend(missing.map(|path| {
            format!(
                "{} needs {}, which the schema does not require",
                template.text(),
                path.join(".")
            )
        }));
    }
    if event.entity.holes().any(Hole::is_optional) {
        problems.push(format!("entity: {} must always be filled", event.entity.text()));
    }
    let fields: Vec<&str> = match &event.form {
        WireForm::Object => Vec::new(),
        WireForm::Message => vec!["type", "payload"],
        WireForm::Field(field) | WireForm::List(field) | WireForm::Binary(field) => vec![field],
    };
    for field in fields.into_iter().chain(event.id_field.as_deref()) {
        if !event.schema.has_property(field) {
            problems.push(format!("{field} is no property of the schema"));
        }
    }
    for pointer in event.steps.iter().flat_map(Steps::pointers) {
        let path: Vec<String> = pointer.split('/').skip(1).map(str::to_owned).collect();
        if !event.schema.requires(&path) {
            problems.push(format!("steps: the schema does not require {pointer}"));
        }
    }
    if let Some(protection) = &event.protection {
        problems.extend(protection_problems(protection, &event.schema));
    }
    if let Err(violation) = event.schema.validate(&event.example) {
        problems.push(format!("example{}: {}", violation.pointer, violation.reason));
    }
    problems
}

//! The catalogue as an AsyncAPI 3.0 document: what the platform sends on which channel, and what it takes from clients.
//!
//! Told from the platform's side, as AsyncAPI has it: an event is what it sends, a command what it receives.

use serde_json::{Map, Value, json};

use crate::catalogue::{Catalogue, ChannelRule, CommandType, Delivery, EventType, Frame, WireForm};

/// Where a session's own frames and the commands of clients are described: every connection has both.
const SESSION: &str = "session";
const CLIENT: &str = "client";
/// Who is sent an event that names no channel of its own.
const AUDIENCE: &str = "user:{id}";
const SENDER: &str = "connection:{pid}";

/// The whole document.
pub fn document(catalogue: &Catalogue, version: &str) -> Value {
    let mut channels = Map::new();
    let mut operations = Map::new();
    for rule in catalogue.channels() {
        let (key, channel, messages) = channel_of(catalogue, rule);
        if !messages.is_empty() {
            operations.insert(format!("send.{key}"), operation("send", &key, &messages));
        }
        channels.insert(key, channel);
    }
    for (key, action, text, messages) in connections(catalogue) {
        channels.insert(key.to_owned(), described(Value::Null, text, &messages));
        operations.insert(format!("{action}.{key}"), operation(action, key, &messages));
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Throughline",
            "version": version,
            "description": "Events that clients follow over Socket.IO, WebSocket, SSE and tRPC, and the commands they send. \
                            Every event is stored in a log and every client is a cursor into it.",
        },
        "defaultContentType": "application/json",
        "servers": servers(),
        "channels": channels,
        "operations": operations,
        "components": { "messages": messages(catalogue) },
    })
}

fn servers() -> Value {
    let host = json!({ "host": { "default": "localhost:8080", "description": "The gateway." } });
    let server = |protocol: &str, pathname: &str, description: &str| {
        json!({
            "host": "{host}", "pathname": pathname, "protocol": protocol,
            "description": description, "variables": host,
        })
    };
    json!({
        "socketio": server("socketio", "/socket.io/", "Socket.IO 4 with connection state recovery; the last argument of an event is its cursor."),
        "websocket": server("ws", "/ws", "Text frames {type, payload, room, id, cursor}."),
        "sse": server("http", "/sse", "Server-sent events; the id of each is its cursor."),
    })
}

/// A channel under its key, and the keys of its messages.
fn channel_of(catalogue: &Catalogue, rule: &ChannelRule) -> (String, Value, Vec<String>) {
    let messages: Vec<String> = catalogue
        .events()
        .filter(|event| is_on(event, rule))
        .map(|event| event.name.clone())
        .collect();
    let mut channel = described(json!(rule.name), &rule.summary, &messages);
    if let Some(hole) = rule.name.split_once('{').and_then(|(_, hole)| hole.strip_suffix('}')) {
        channel["parameters"] =
            json!({ hole: { "description": "The id of what the channel is about." } });
    }
    let roles: Vec<&str> = rule.roles.iter().map(|role| role.name()).collect();
    channel["x-joined-by"] = json!(roles);
    channel["x-joined-on-connect"] = json!(rule.auto_join);
    (key(&rule.name), channel, messages)
}

fn is_on(event: &EventType, rule: &ChannelRule) -> bool {
    let mut templates = event.channel_templates().peekable();
    if templates.peek().is_none() {
        let own = if event.delivery == Delivery::Ephemeral { SENDER } else { AUDIENCE };
        return rule.name == own;
    }
    templates.any(|template| kind(template) == kind(&rule.name))
}

/// What every connection has besides channels: its own frames, and what its client sends.
fn connections(
    catalogue: &Catalogue,
) -> [(&'static str, &'static str, &'static str, Vec<String>); 2] {
    let frames = catalogue.frames().map(frame_key).collect();
    let commands = catalogue.commands().map(command_key).collect();
    [
        (SESSION, "send", "What a connection is told about itself.", frames),
        (CLIENT, "receive", "What a client asks for; the decision is the answer.", commands),
    ]
}

fn described(address: Value, description: &str, messages: &[String]) -> Value {
    let references: Map<String, Value> = messages
        .iter()
        .map(|name| (name.clone(), reference(&format!("components/messages/{name}"))))
        .collect();
    json!({ "address": address, "description": description, "messages": references })
}

fn operation(action: &str, channel: &str, messages: &[String]) -> Value {
    let on = |name: &String| reference(&format!("channels/{channel}/messages/{name}"));
    json!({
        "action": action,
        "channel": reference(&format!("channels/{channel}")),
        "messages": messages.iter().map(on).collect::<Vec<_>>(),
    })
}

fn reference(path: &str) -> Value {
    json!({ "$ref": format!("#/{path}") })
}

fn messages(catalogue: &Catalogue) -> Map<String, Value> {
    let events = catalogue.events().map(|event| (event.name.clone(), event_message(event)));
    let commands =
        catalogue.commands().map(|command| (command_key(command), command_message(command)));
    let frames = catalogue.frames().map(|frame| (frame_key(frame), frame_message(frame)));
    events.chain(commands).chain(frames).collect()
}

fn event_message(event: &EventType) -> Value {
    let form = match &event.form {
        WireForm::Object => json!("object"),
        WireForm::Field(field) => json!({ "field": field }),
        WireForm::List(field) => json!({ "list": field }),
        WireForm::Binary(field) => json!({ "binary": field }),
        WireForm::Message => json!("message"),
    };
    let names: Map<String, Value> =
        event.wire.by_kind().map(|(kind, name)| (kind.to_owned(), json!(name))).collect();
    json!({
        "name": event.wire.default_name(),
        "title": event.name,
        "summary": event.summary,
        "contentType": "application/json",
        "payload": event.schema(),
        "examples": [{ "payload": event.example }],
        "x-version": event.version,
        "x-delivery": delivery(event.delivery),
        "x-closed": event.closed,
        "x-form": form,
        "x-names-by-channel": names,
    })
}

fn command_message(command: &CommandType) -> Value {
    json!({
        "name": command.wires.first().unwrap_or(&command.name),
        "title": command.name,
        "summary": command.summary,
        "contentType": "application/json",
        "payload": command.schema(),
        "examples": [{ "payload": command.example }],
        "x-names": command.wires,
        "x-sent-by": command.roles.iter().map(|role| role.name()).collect::<Vec<_>>(),
    })
}

fn frame_message(frame: &Frame) -> Value {
    json!({
        "name": frame.name,
        "summary": frame.summary,
        "contentType": "application/json",
        "payload": frame.schema(),
        "x-wires": frame.wires,
    })
}

const fn delivery(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::Critical => "critical",
        Delivery::Durable => "durable",
        Delivery::Ephemeral => "ephemeral",
    }
}

fn frame_key(frame: &Frame) -> String {
    format!("frame.{}", key(&frame.name))
}

fn command_key(command: &CommandType) -> String {
    format!("command.{}", command.name)
}

/// A name as a key that references can hold.
fn key(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    name.chars().map(plain).collect::<String>().trim_matches('_').replace("__", "_")
}

fn kind(channel: &str) -> &str {
    channel.split_once(":{").map_or(channel, |(kind, _)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> Value {
        document(&Catalogue::builtin().unwrap(), "1.0.0")
    }

    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value.as_str() {
                        Some(path) if name == "$ref" => found.push(path),
                        _ => references(value, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = made();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 100, "{}", found.len());
        for path in found {
            let pointer = path.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{path}");
        }
    }

    #[test]
    fn every_event_is_sent_on_a_channel() {
        let document = made();
        let channels = document["channels"].as_object().unwrap();
        for event in Catalogue::builtin().unwrap().events() {
            let told =
                channels.values().any(|channel| channel["messages"].get(&event.name).is_some());
            assert!(told, "{}", event.name);
        }
    }

    #[test]
    fn a_message_is_called_what_clients_see() {
        let document = made();
        let update = &document["components"]["messages"]["call.update"];
        assert_eq!(update["name"], "call_update");
        assert_eq!(update["x-names-by-channel"]["call"], "call_data");
        assert_eq!(document["channels"]["call_sid"]["address"], "call:{sid}");
    }
}

//! The definition files: streams, buckets, object stores and durables.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::units::normalize;

/// What a file declares, in the form of the server's API.
#[derive(Clone, PartialEq, Debug)]
pub struct Definition {
    pub kind: Kind,
    /// `CALLS`, or `CALLS.ingest-effects` for a durable.
    pub name: String,
    pub(super) stream: String,
    pub(super) config: Value,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Stream,
    Consumer,
}

#[derive(Clone, Debug)]
pub struct Definitions(Vec<Definition>);

#[derive(Debug, thiserror::Error)]
pub enum InvalidDefinition {
    #[error("{file} cannot be read")]
    Unreadable {
        file: String,
        #[source]
        reason: std::io::Error,
    },
    #[error("{file} is not a JSON object")]
    NotJson { file: String },
    #[error("{file}: {field} is missing or not understood")]
    Field { file: String, field: String },
}

#[derive(Clone, Copy)]
enum Folder {
    Streams,
    Buckets,
    Objects,
    Consumers,
}

macro_rules! files {
    ($($folder:ident $path:literal: $($name:literal),* $(,)?;)*) => {
        &[$($((
            Folder::$folder,
            concat!($path, "/", $name, ".json"),
            include_str!(concat!("../../../../nats/", $path, "/", $name, ".json")),
        ),)*)*]
    };
}

const BUILTIN: &[(Folder, &str, &str)] = files! {
    Streams "streams": "calls", "messages", "crisis", "conversations", "activity", "inbox", "commands",
        "crisis-commands", "timers", "quarantine";
    Buckets "buckets": "cursors", "sessions", "revocations", "replay", "platform", "keys";
    Objects "objects": "media", "channel-index", "views";
    Consumers "consumers": "inbox-ingest", "commands-ingest", "crisis-commands-ingest",
        "commands-ingest-receipts", "timers-ingest", "crisis-ingest-escalation", "crisis-ingest-paging",
        "calls-ingest-effects", "conversations-ai-screen", "conversations-ai-answer", "conversations-ingest-activity",
        "crisis-ingest-activity", "messages-ingest-activity";
};

impl Definitions {
    /// The files this was built with.
    pub fn builtin() -> Result<Self, InvalidDefinition> {
        let read = |(folder, file, text): &(Folder, &str, &str)| definition(*folder, file, text);
        BUILTIN.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// The files of a folder laid out like `nats/`, instead of the built-in ones.
    pub fn load(folder: &Path) -> Result<Self, InvalidDefinition> {
        let mut definitions = Vec::new();
        for (kind, name) in [
            (Folder::Streams, "streams"),
            (Folder::Buckets, "buckets"),
            (Folder::Objects, "objects"),
            (Folder::Consumers, "consumers"),
        ] {
            for (file, text) in json_files(&folder.join(name))? {
                definitions.push(definition(kind, &file, &text)?);
            }
        }
        Ok(Self(definitions))
    }

    /// One more durable, such as that of a team.
    pub fn add_consumer(&mut self, file: &str, text: &str) -> Result<(), InvalidDefinition> {
        self.0.push(definition(Folder::Consumers, file, text)?);
        Ok(())
    }

    pub fn iter(&self) -> impl Iterator<Item = &Definition> {
        self.0.iter()
    }
}

fn json_files(folder: &Path) -> Result<Vec<(String, String)>, InvalidDefinition> {
    let unreadable = |path: &Path, reason| InvalidDefinition::Unreadable {
        file: path.display().to_string(),
        reason,
    };
    let mut files = Vec::new();
    let entries = std::fs::read_dir(folder).map_err(|error| unreadable(folder, error))?;
    for entry in entries {
        let path = entry.map_err(|error| unreadable(folder, error))?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
            files.push((path.display().to_string(), text));
        }
    }
    files.sort();
    Ok(files)
}

fn definition(folder: Folder, file: &str, text: &str) -> Result<Definition, InvalidDefinition> {
    let not_json = || InvalidDefinition::NotJson { file: file.to_owned() };
    let Ok(Value::Object(mut fields)) = serde_json::from_str(text) else { return Err(not_json()) };
    let bad_field = |field: String| InvalidDefinition::Field { file: file.to_owned(), field };
    normalize(&mut fields).map_err(bad_field)?;
    let stream = match folder {
        Folder::Streams => text_of(&fields, "name"),
        Folder::Buckets => text_of(&fields, "bucket").map(|name| format!("KV_{name}")),
        Folder::Objects => text_of(&fields, "bucket").map(|name| format!("OBJ_{name}")),
        Folder::Consumers => take_text(&mut fields, "stream"),
    };
    let stream = stream.ok_or_else(|| bad_field("name, bucket or stream".to_owned()))?;
    if let Folder::Consumers = folder {
        let durable =
            text_of(&fields, "durable_name").ok_or_else(|| bad_field("durable_name".to_owned()))?;
        fields.insert("name".to_owned(), json!(durable));
        let name = format!("{stream}.{durable}");
        return Ok(Definition { kind: Kind::Consumer, name, stream, config: fields.into() });
    }
    let config = match folder {
        Folder::Streams | Folder::Consumers => fields.into(),
        Folder::Buckets => bucket(&stream, &fields),
        Folder::Objects => object_store(&stream, &fields),
    };
    Ok(Definition { kind: Kind::Stream, name: stream.clone(), stream, config })
}

fn text_of(fields: &Map<String, Value>, field: &str) -> Option<String> {
    fields.get(field)?.as_str().map(str::to_owned)
}

fn take_text(fields: &mut Map<String, Value>, field: &str) -> Option<String> {
    Some(fields.remove(field)?.as_str()?.to_owned())
}

/// The stream behind a key-value bucket, as every NATS client lays it out.
fn bucket(stream: &str, fields: &Map<String, Value>) -> Value {
    let name = stream.trim_start_matches("KV_");
    let mut config = json!({
        "name": stream,
        "description": fields.get("description"),
        "subjects": [format!("$KV.{name}.>")],
        "retention": "limits",
        "storage": fields.get("storage"),
        // A bucket whose oldest values may go says so; every other one refuses what it has no room for.
        "discard": fields.get("discard").cloned().unwrap_or(json!("new")),
        "max_msgs_per_subject": fields.get("history").cloned().unwrap_or(json!(1)),
        "max_bytes": fields.get("max_bytes"),
        "max_age": fields.get("ttl").cloned().unwrap_or(json!(0)),
        "max_msg_size": fields.get("max_value_size"),
        "duplicate_window": duplicate_window(fields),
        "allow_rollup_hdrs": true,
        "allow_direct": true,
        "deny_delete": true,
        "deny_purge": false,
    });
    if fields.get("limit_markers") == Some(&Value::Bool(true)) {
        config["allow_msg_ttl"] = json!(true);
        config["subject_delete_marker_ttl"] = json!(3_600_000_000_000_u64);
    }
    config
}

/// The stream behind an object store.
fn object_store(stream: &str, fields: &Map<String, Value>) -> Value {
    let name = stream.trim_start_matches("OBJ_");
    json!({
        "name": stream,
        "description": fields.get("description"),
        "subjects": [format!("$O.{name}.C.>"), format!("$O.{name}.M.>")],
        "retention": "limits",
        "storage": fields.get("storage"),
        "discard": "new",
        "max_bytes": fields.get("max_bytes"),
        "max_age": fields.get("ttl").cloned().unwrap_or(json!(0)),
        "allow_rollup_hdrs": true,
        "allow_direct": true,
    })
}

/// Two minutes, or the whole life of a value that lives shorter.
fn duplicate_window(fields: &Map<String, Value>) -> u64 {
    const TWO_MINUTES: u64 = 120_000_000_000;
    match fields.get("ttl").and_then(Value::as_u64) {
        Some(ttl) if ttl > 0 => TWO_MINUTES.min(ttl),
        Some(_) | None => TWO_MINUTES,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use domain::StreamId;

    use super::*;

    fn filters(name: &str) -> BTreeSet<String> {
        let definitions = Definitions::builtin().unwrap();
        let found = definitions.iter().find(|definition| definition.name == name).unwrap();
        let config = &found.config;
        let many = config["subjects"].as_array().or(config["filter_subjects"].as_array());
        many.unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn every_stream_binds_exactly_the_categories_of_the_domain() {
        for stream in StreamId::ALL {
            let expected =
                stream.categories().iter().map(|category| format!("events.*.{category}.>"));
            assert_eq!(filters(stream.name()), expected.collect(), "{stream}");
        }
    }

    #[test]
    fn every_category_of_commands_has_a_durable() {
        let (all, crisis) = (filters("COMMANDS.ingest"), filters("CRISIS_COMMANDS.ingest"));
        for category in StreamId::ALL.into_iter().flat_map(|stream| stream.categories()) {
            let filter = format!("commands.*.{category}.>");
            assert!(all.contains(&filter) != crisis.contains(&filter), "{category}");
        }
        // A subject that a stream has and no durable takes would fill it.
        assert_eq!(filters("CRISIS_COMMANDS"), crisis);
        let receipts = "commands.*.receipt.>".to_owned();
        assert_eq!(filters("COMMANDS"), all.into_iter().chain([receipts]).collect());
    }

    #[test]
    fn every_file_is_built_in() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../nats");
        let mut on_disk: Vec<_> =
            Definitions::load(&folder).unwrap().iter().map(|d| d.name.clone()).collect();
        let mut built_in: Vec<_> =
            Definitions::builtin().unwrap().iter().map(|d| d.name.clone()).collect();
        on_disk.sort();
        built_in.sort();
        assert_eq!(on_disk, built_in);
    }

    #[test]
    fn only_what_clients_can_do_without_gives_way_when_its_bucket_is_full() {
        let definitions = Definitions::builtin().unwrap();
        let gives_way = |d: &&Definition| d.name.starts_with("KV_") && d.config["discard"] == "old";
        let names: BTreeSet<_> = definitions.iter().filter(gives_way).map(|d| &*d.name).collect();
        assert_eq!(names, BTreeSet::from(["KV_cursors", "KV_sessions"]));
    }

    #[test]
    fn only_the_crisis_stream_has_no_byte_limit() {
        for definition in Definitions::builtin().unwrap().iter() {
            if definition.kind == Kind::Stream {
                let is_limited = definition.config["max_bytes"].as_u64().is_some_and(|b| b > 0);
                assert_eq!(is_limited, definition.name != "CRISIS", "{}", definition.name);
            }
        }
    }
}

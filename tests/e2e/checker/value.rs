//! What publishers write so that a delivery can be told apart: `val-<writer>-<counter>` somewhere in the payload.

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use serde_json::Value as Json;

const MARK: &str = "val-";

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Value {
    pub(crate) writer: Arc<str>,
    pub(crate) counter: u64,
}

impl Value {
    /// `writer` is letters and digits.
    pub(crate) fn new(writer: &str, counter: u64) -> Self {
        Self { writer: writer.into(), counter }
    }

    /// The value in a payload, wherever the wire's form has put it.
    pub(crate) fn find(payload: &Json) -> Option<Self> {
        match payload {
            Json::String(text) => Self::parse(text),
            Json::Array(items) => items.iter().find_map(Self::find),
            Json::Object(fields) => fields.values().find_map(Self::find),
            Json::Null | Json::Bool(_) | Json::Number(_) => None,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let rest = &text[text.find(MARK)? + MARK.len()..];
        let (writer, rest) = rest.split_once('-')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let counter = rest[..digits].parse().ok()?;
        let plain = !writer.is_empty() && writer.chars().all(|c| c.is_ascii_alphanumeric());
        plain.then(|| Self::new(writer, counter))
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MARK}{}-{}", self.writer, self.counter)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.writer, self.counter)
    }
}

/// A payload's hash, whatever the order of its keys and without the `timestamp` that the platform adds.
pub(crate) fn hash(payload: &Json) -> u64 {
    let mut hasher = DefaultHasher::new();
    canonical(payload, true).hash(&mut hasher);
    hasher.finish()
}

fn canonical(payload: &Json, top: bool) -> String {
    match payload {
        Json::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| canonical(item, false)).collect();
            format!("[{}]", items.join(","))
        }
        Json::Object(fields) => {
            let mut fields: Vec<_> = fields
                .iter()
                .filter(|(name, _)| !(top && *name == "timestamp"))
                .map(|(name, value)| format!("{name:?}:{}", canonical(value, false)))
                .collect();
            fields.sort();
            format!("{{{}}}", fields.join(","))
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => payload.to_string(),
    }
}

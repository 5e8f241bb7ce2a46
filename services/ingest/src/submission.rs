//! What a publisher sends, read from any of its forms: plain JSON, CloudEvents structured, binary or batch.
//!
//! Pure. It knows the forms, not the catalogue: whether a type exists or its data is valid is decided at the gate.

use domain::envelope::parse_rfc3339;
use serde_json::{Map, Value};
use time::OffsetDateTime;

mod binary;
#[cfg(test)]
mod tests;
mod text;

pub(crate) use binary::from_headers;

/// One event as its publisher gave it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Submission {
    pub event_type: Option<String>,
    pub id: Option<String>,
    pub source: Option<String>,
    pub time: Option<OffsetDateTime>,
    pub data: Value,
    pub audience: Vec<String>,
    pub correlation_id: Option<String>,
    pub causation_id: Option<String>,
}

/// How a request or message carries events, told by its headers alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    Batch,
    Structured,
    Binary,
    Plain,
}

/// Whether attributes that CloudEvents requires may be missing, because something else fills them in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Required {
    AsSpecified,
    FilledIn,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    #[error("the body must be {0}")]
    Shape(&'static str),
    #[error("{pointer}: {reason}")]
    Attribute { index: Option<usize>, pointer: String, reason: String },
}

impl Unreadable {
    fn attribute(name: &str, reason: impl Into<String>) -> Self {
        Self::Attribute { index: None, pointer: format!("/{name}"), reason: reason.into() }
    }

    fn at(self, place: usize) -> Self {
        match self {
            Self::Attribute { pointer, reason, .. } => {
                Self::Attribute { index: Some(place), pointer, reason }
            }
            Self::NotJson(_) | Self::Shape(_) => self,
        }
    }
}

/// Looks a header up by its lower-case name.
pub(crate) type Header<'a> = &'a dyn Fn(&str) -> Option<&'a [u8]>;

impl Form {
    pub(crate) fn of(header: Header<'_>) -> Self {
        let content_type = header("content-type").unwrap_or_default().to_ascii_lowercase();
        // The batch type begins like the structured one.
        if content_type.starts_with(b"application/cloudevents-batch") {
            Self::Batch
        } else if content_type.starts_with(b"application/cloudevents") {
            Self::Structured
        } else if ["ce-specversion", "ce-type", "ce-id"].iter().any(|name| header(name).is_some()) {
            Self::Binary
        } else {
            Self::Plain
        }
    }
}

/// The events of a request, in their order, and whether they came as a list.
pub(crate) fn read(
    header: Header<'_>,
    body: &[u8],
    required: Required,
) -> Result<Vec<Submission>, Unreadable> {
    match Form::of(header) {
        Form::Binary => from_headers(header, body, required).map(|one| vec![one]),
        Form::Batch => match json(body)? {
            Value::Array(events) => list(events, |event| structured(event, required)),
            _ => Err(Unreadable::Shape("an array of CloudEvents")),
        },
        Form::Structured => structured(json(body)?, required).map(|one| vec![one]),
        Form::Plain => match json(body)? {
            Value::Array(events) => list(events, |event| plain(event, required)),
            event => plain(event, required).map(|one| vec![one]),
        },
    }
}

fn list(
    events: Vec<Value>,
    read: impl Fn(Value) -> Result<Submission, Unreadable>,
) -> Result<Vec<Submission>, Unreadable> {
    events.into_iter().enumerate().map(|(at, event)| read(event).map_err(|e| e.at(at))).collect()
}

fn json(body: &[u8]) -> Result<Value, Unreadable> {
    serde_json::from_slice(body).map_err(|error| {
        // The position, not the text: serde_json's message may quote what it read.
        Unreadable::NotJson(format!("line {} column {}", error.line(), error.column()))
    })
}

/// A plain object; one that says its `specversion` is a CloudEvent, whatever the content type says.
fn plain(event: Value, required: Required) -> Result<Submission, Unreadable> {
    const KNOWN: [&str; 8] =
        ["type", "data", "id", "time", "audience", "source", "correlationId", "causationId"];
    match &event {
        Value::Object(fields) if fields.contains_key("specversion") => structured(event, required),
        Value::Object(fields) => match fields.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            Some(key) => Err(Unreadable::attribute(
                key,
                "is not known; an event has type, data, id, time, audience, source",
            )),
            None => attributes(event, "correlationId", "causationId"),
        },
        _ => Err(Unreadable::Shape("an object with type and data, or an array of them")),
    }
}

fn structured(event: Value, required: Required) -> Result<Submission, Unreadable> {
    if !event.is_object() {
        return Err(Unreadable::Shape("a CloudEvent as a JSON object"));
    }
    match event.get("specversion").map(Value::as_str) {
        Some(Some("1.0")) => {}
        None if required == Required::FilledIn => {}
        _ => return Err(Unreadable::attribute("specversion", "must be \"1.0\"")),
    }
    let submission = attributes(event, "correlationid", "causationid")?;
    complete(submission, required)
}

/// Holds a CloudEvent to what its specification requires.
fn complete(submission: Submission, required: Required) -> Result<Submission, Unreadable> {
    if required == Required::FilledIn {
        return Ok(submission);
    }
    let present = [
        ("type", submission.event_type.is_some()),
        ("id", submission.id.is_some()),
        ("source", submission.source.is_some()),
    ];
    match present.iter().find(|(_, present)| !present) {
        Some((name, _)) => Err(Unreadable::attribute(name, "is required by CloudEvents")),
        None => Ok(submission),
    }
}

fn attributes(event: Value, correlation: &str, causation: &str) -> Result<Submission, Unreadable> {
    let Value::Object(mut fields) = event else {
        return Err(Unreadable::Shape("a JSON object"));
    };
    Ok(Submission {
        event_type: string(&mut fields, "type")?,
        id: string(&mut fields, "id")?,
        source: string(&mut fields, "source")?,
        time: string(&mut fields, "time")?.as_deref().map(time).transpose()?,
        audience: audience(&mut fields)?,
        correlation_id: string(&mut fields, correlation)?,
        causation_id: string(&mut fields, causation)?,
        data: data(&mut fields)?,
    })
}

fn string(fields: &mut Map<String, Value>, name: &str) -> Result<Option<String>, Unreadable> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
        Some(_) => Err(Unreadable::attribute(name, "must be a string that is not empty")),
    }
}

fn time(text: &str) -> Result<OffsetDateTime, Unreadable> {
    parse_rfc3339(text).ok_or_else(|| {
        Unreadable::attribute("time", "must be an RFC 3339 time such as 2026-01-02T03:04:05Z")
    })
}

/// User ids: a list, or (a CloudEvents extension cannot be one) a text with commas.
fn audience(fields: &mut Map<String, Value>) -> Result<Vec<String>, Unreadable> {
    match fields.remove("audience") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(text::comma_separated(&text)),
        Some(Value::Array(users)) => users.into_iter().map(user).collect(),
        Some(_) => Err(Unreadable::attribute("audience", "must be a list of user ids")),
    }
}

fn user(user: Value) -> Result<String, Unreadable> {
    match user {
        Value::String(id) if !id.is_empty() => Ok(id),
        Value::Number(id) => Ok(id.to_string()),
        _ => Err(Unreadable::attribute("audience", "must be a list of user ids")),
    }
}

fn data(fields: &mut Map<String, Value>) -> Result<Value, Unreadable> {
    let content_type = string(fields, "datacontenttype")?;
    match (fields.remove("data"), fields.remove("data_base64")) {
        (Some(data), None) => Ok(data),
        (None, None) => Ok(Value::Object(Map::new())),
        (None, Some(Value::String(encoded))) => {
            text::from_base64(encoded, content_type.as_deref().map(str::as_bytes))
        }
        (None, Some(_)) => Err(Unreadable::attribute("data_base64", "must be a string")),
        (Some(_), Some(_)) => Err(Unreadable::attribute("data_base64", "cannot stand beside data")),
    }
}

//! Sealing and opening the protected fields of an event's data.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{DataKey, ERASED, Locked, MARK, Once, Subject, open, parts_of, seal, subject_of};
use crate::token::{Tenant, Token};

/// What an event type or a command declares as personal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Protection {
    /// The kind of person: `user`, `contact`.
    pub kind: Token,
    /// The field that holds the person's id.
    pub id_field: String,
    /// The fields that are sealed; a dot leads into an object.
    pub fields: Vec<String>,
    /// Whether it holds for every tenant; otherwise for those that turned it on.
    pub always: bool,
}

impl Protection {
    /// The person that the data is about.
    pub fn subject(&self, tenant: &Tenant, data: &Map<String, Value>) -> Option<Subject> {
        let id = match at(data, &self.id_field)? {
            Value::String(id) => id.clone(),
            Value::Number(id) => id.to_string(),
            _ => return None,
        };
        Some(Subject::new(tenant, &self.kind, &id))
    }

    /// The protected fields that stand in the data in the clear.
    pub fn clear<'a>(&'a self, data: &'a Map<String, Value>) -> impl Iterator<Item = &'a str> {
        let is_clear = |field: &&String| at(data, field).is_some_and(is_clear);
        self.fields.iter().filter(is_clear).map(String::as_str)
    }
}

fn at<'a>(data: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let mut names = path.split('.');
    let mut value = data.get(names.next()?)?;
    for name in names {
        value = value.get(name)?;
    }
    Some(value)
}

fn at_mut<'a>(data: &'a mut Map<String, Value>, path: &str) -> Option<&'a mut Value> {
    let mut names = path.split('.');
    let mut value = data.get_mut(names.next()?)?;
    for name in names {
        value = value.get_mut(name)?;
    }
    Some(value)
}

fn is_clear(value: &Value) -> bool {
    !value.is_null() && !value.as_str().is_some_and(is_sealed)
}

/// Whether a text has the form of a sealed field, whoever's it is.
pub fn is_sealed(text: &str) -> bool {
    parts_of(text).is_some()
}

/// Seals every protected field that stands in the clear. `once` gives random bytes, other ones each time.
pub fn seal_fields(
    data: &mut Map<String, Value>,
    protection: &Protection,
    subject: &Subject,
    key: &DataKey,
    mut once: impl FnMut() -> Once,
) {
    for field in &protection.fields {
        if let Some(value) = at_mut(data, field)
            && is_clear(value)
        {
            *value = Value::String(seal(key, subject, value, once()));
        }
    }
}

/// Whose the sealed text in a field is; `None` for anything else.
pub fn sealed_for(tenant: &Tenant, data: &Map<String, Value>, field: &str) -> Option<Subject> {
    subject_of(tenant, at(data, field)?.as_str()?)
}

/// Puts what is sealed in a field in its place; whether the key opened it.
pub fn open_value_of(
    data: &mut Map<String, Value>,
    field: &str,
    subject: &Subject,
    key: &DataKey,
) -> bool {
    let Some(value) = at_mut(data, field) else { return false };
    let opened = value.as_str().and_then(|text| open(key, subject, text).ok());
    let is_open = opened.is_some();
    if let Some(opened) = opened {
        *value = opened;
    }
    is_open
}

/// Whether anything in the JSON may be sealed: one look over its bytes.
pub fn holds_sealed(json: &[u8]) -> bool {
    marks(json).next().is_some()
}

/// Whose the sealed texts in some JSON are.
pub fn subjects_in<'a>(json: &'a [u8], tenant: &'a Tenant) -> impl Iterator<Item = Subject> + 'a {
    sealed_in(json).filter_map(move |text| subject_of(tenant, text))
}

/// Whether some JSON holds a sealed text that the platform has not put there itself.
pub fn holds_sealed_besides(json: &[u8], tenant: &Tenant, own: Option<&str>) -> bool {
    sealed_in(json).any(|text| Some(text) != own && subject_of(tenant, text).is_some())
}

/// Whose of the sealed texts in some JSON these keys do not open, each person once.
pub fn locked_in(
    json: &[u8],
    tenant: &Tenant,
    key_of: impl Fn(&Subject) -> Option<DataKey>,
) -> Vec<Subject> {
    let mut locked = Vec::new();
    for text in sealed_in(json) {
        let Some(subject) = subject_of(tenant, text) else { continue };
        let opens = key_of(&subject).is_some_and(|key| open(&key, &subject, text).is_ok());
        if !opens && !locked.contains(&subject) {
            locked.push(subject);
        }
    }
    locked
}

/// The texts in some JSON that look sealed.
fn sealed_in(json: &[u8]) -> impl Iterator<Item = &str> + '_ {
    marks(json).filter_map(|at| {
        let text = &json[at + 1..];
        let end = text.iter().position(|&byte| byte == b'"')?;
        std::str::from_utf8(&text[..end]).ok()
    })
}

/// Where strings begin that look sealed, at their quotation marks.
fn marks(json: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let begins = |at: &usize| json[at + 1..].starts_with(MARK.as_bytes());
    memchr::memchr_iter(b'"', json).filter(begins)
}

/// JSON with everything in it opened that is sealed; what has no key any more says [`ERASED`].
pub fn open_json<'a>(
    json: &'a [u8],
    tenant: &Tenant,
    key_of: impl Fn(&Subject) -> Option<DataKey>,
) -> Cow<'a, [u8]> {
    if !holds_sealed(json) {
        return Cow::Borrowed(json);
    }
    let Ok(mut value) = serde_json::from_slice::<Value>(json) else { return Cow::Borrowed(json) };
    open_value(&mut value, tenant, &key_of);
    Cow::Owned(value.to_string().into_bytes())
}

fn open_value(value: &mut Value, tenant: &Tenant, key_of: &impl Fn(&Subject) -> Option<DataKey>) {
    match value {
        Value::String(text) => {
            if let Some(opened) = open_text(text, tenant, key_of) {
                *value = opened;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| open_value(item, tenant, key_of)),
        Value::Object(fields) => {
            fields.values_mut().for_each(|field| open_value(field, tenant, key_of));
        }
        _ => {}
    }
}

/// `None` for a text that is not sealed.
fn open_text(
    text: &str,
    tenant: &Tenant,
    key_of: &impl Fn(&Subject) -> Option<DataKey>,
) -> Option<Value> {
    let subject = subject_of(tenant, text)?;
    let opened = key_of(&subject).ok_or(Locked::Erased).and_then(|key| open(&key, &subject, text));
    Some(opened.unwrap_or_else(|_| Value::from(ERASED)))
}

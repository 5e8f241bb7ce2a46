//! Reading providers' bodies: forms and JSON whose optional fields may be absent, empty or malformed,
//! and building the data of an event from what is there.

use std::borrow::Cow;

use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::Unmappable;
use crate::envelope::{parse_rfc3339, rfc3339};

/// A form body, of which the first value of each name counts. A list is searched faster than a map is built.
pub(super) struct Form<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Form<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, Unmappable> {
        if is_utf8_form(body) {
            Ok(Self(form_urlencoded::parse(body).collect()))
        } else {
            Err(Unmappable::new("the form is not UTF-8"))
        }
    }

    /// Nothing where the field is absent or empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(found, _)| found == name)?;
        Some(value.trim()).filter(|text| !text.is_empty())
    }

    pub(super) fn required(&self, name: &str) -> Result<&str, Unmappable> {
        self.get(name).ok_or_else(|| Unmappable::new(format!("{name} is missing")))
    }

    /// A required field that must be one of the known words.
    pub(super) fn required_word(&self, name: &str, words: &[&str]) -> Result<&str, Unmappable> {
        let found = self.required(name)?;
        if words.contains(&found) {
            Ok(found)
        } else {
            Err(Unmappable::new(format!("{name} has an unknown value")))
        }
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    pub(super) fn into_json(self) -> Value {
        let mut fields = Map::new();
        for (name, value) in self.0 {
            fields.entry(name).or_insert_with(|| value.into_owned().into());
        }
        Value::Object(fields)
    }

    pub(super) fn word(&self, name: &str, words: &[&str]) -> Option<&str> {
        self.get(name).filter(|found| words.contains(found))
    }
}

/// Whether a form's names and values are texts: otherwise parsing would put other characters into their place.
pub fn is_utf8_form(body: &[u8]) -> bool {
    // What separates them is ASCII, so that the whole is UTF-8 where they are.
    let is_high =
        |pair: &[u8]| pair[0] == b'%' && matches!(pair[1] | 0x20, b'8'..=b'9' | b'a'..=b'f');
    (body.is_ascii() && !body.windows(2).any(is_high))
        || percent_encoding::percent_decode(body).decode_utf8().is_ok()
}

pub(super) fn json(body: &[u8]) -> Result<Value, Unmappable> {
    serde_json::from_slice(body).map_err(|_| Unmappable::new("the body is not JSON"))
}

/// A text that is there and not empty; numbers are read as texts.
pub(super) fn text(value: &Value, pointer: &str) -> Option<String> {
    match value.pointer(pointer)? {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

pub(super) fn required_text(value: &Value, pointer: &str) -> Result<String, Unmappable> {
    text(value, pointer).ok_or_else(|| Unmappable::new(format!("{} is missing", &pointer[1..])))
}

/// A whole number, also one written as a text or with a fraction.
pub(super) fn number(value: &Value, pointer: &str) -> Option<u64> {
    match value.pointer(pointer)? {
        Value::Number(number) => {
            number.as_u64().or_else(|| number.as_f64().filter(|n| *n >= 0.0).map(|n| n as u64))
        }
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// An event's data, from the fields that are there.
pub(super) struct Data(Map<String, Value>);

/// Has room for most events, so that it is not grown field by field.
impl Default for Data {
    fn default() -> Self {
        Self(Map::with_capacity(14))
    }
}

impl Data {
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    pub(super) fn maybe(self, name: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    pub(super) fn time(self, name: &str, time: Option<OffsetDateTime>) -> Self {
        self.maybe(name, time.map(rfc3339))
    }

    pub(super) fn done(self) -> Value {
        Value::Object(self.0)
    }
}

/// `Wed, 02 Aug 2017 19:56:26 +0000`.
pub(super) fn rfc2822(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc2822).ok()
}

pub(super) fn unix_seconds(text: &str) -> Option<OffsetDateTime> {
    let time = OffsetDateTime::from_unix_timestamp(text.parse().ok()?).ok()?;
    within_four_digits(time)
}

pub(super) fn iso(text: &str) -> Option<OffsetDateTime> {
    parse_rfc3339(text).and_then(within_four_digits)
}

/// A year that RFC 3339 can write.
pub(super) fn within_four_digits(time: OffsetDateTime) -> Option<OffsetDateTime> {
    Some(time).filter(|time| (1..=9998).contains(&time.year()))
}

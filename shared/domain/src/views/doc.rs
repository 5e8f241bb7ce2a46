//! A JSON object one level deep: its fields by name, each as the text it was written in. A fold touches a few fields
//! of an event and of a row, so the rest is neither understood nor built anew.
//!
//! Fields are kept in the order of their names, so that equal content is equal bytes.

mod scan;

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::envelope::{parse_rfc3339, rfc3339};

/// Fields that begin with this are the fold's own and are not shown.
const OWN: char = '_';

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Doc<'a> {
    fields: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Doc<'a> {
    /// `None` when it is no JSON object.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// A row as it was written, empty where there is none.
    pub(crate) fn row(bytes: Option<&'a [u8]>) -> Self {
        let read = |bytes| scan::fields(bytes).map(|fields| Self { fields });
        bytes.and_then(|bytes| read(bytes).or_else(|| Self::parse(bytes))).unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The fields' names and JSON texts; those that are null count as absent.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (&**name, &**value))
    }

    /// A field as JSON.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.find(name).ok().map(|at| &*self.fields[at].1)
    }

    /// A field that is a string.
    pub(crate) fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        text_of(self.get(name)?)
    }

    pub(crate) fn integer(&self, name: &str) -> Option<i64> {
        self.get(name)?.parse().ok()
    }

    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.get(name)?.parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// A field that is an object.
    pub(crate) fn doc(&self, name: &str) -> Option<Doc<'_>> {
        Doc::parse(self.get(name)?.as_bytes())
    }

    /// A field that is a time, whatever its offset, in the one form that the log writes: so times compare as texts.
    pub(crate) fn moment(&self, name: &str) -> Option<String> {
        parse_rfc3339(&self.text(name)?).map(rfc3339)
    }

    /// Sets a field to JSON.
    pub(crate) fn set(&mut self, name: &'a str, json: impl Into<Cow<'a, str>>) {
        self.put(Cow::Borrowed(name), json.into());
    }

    pub(crate) fn put(&mut self, name: Cow<'a, str>, json: Cow<'a, str>) {
        match self.find(&name) {
            Ok(at) => self.fields[at].1 = json,
            Err(at) => self.fields.insert(at, (name, json)),
        }
    }

    pub(crate) fn set_text(&mut self, name: &'a str, text: &str) {
        self.set(name, json_text(text));
    }

    pub(crate) fn set_number(&mut self, name: &'a str, number: impl fmt::Display) {
        self.set(name, number.to_string());
    }

    pub(crate) fn remove(&mut self, name: &str) {
        if let Ok(at) = self.find(name) {
            self.fields.remove(at);
        }
    }

    /// Takes a field over as it is, if it is there.
    pub(crate) fn take(&mut self, name: &'a str, json: Option<&str>) {
        if let Some(json) = json {
            self.set(name, json.to_owned());
        }
    }

    /// Of the present value and another the one that is greater as text: whichever came first, the same stays.
    pub(crate) fn take_greatest(&mut self, name: &'a str, json: Option<&str>) {
        if let Some(json) = json
            && self.get(name).is_none_or(|present| present < json)
        {
            self.set(name, json.to_owned());
        }
    }

    /// [`Self::take_greatest`] of all these fields of another; `names` are in their order, as fields are.
    pub(crate) fn take_greatest_of(&mut self, names: &'static [&'static str], from: &Doc<'_>) {
        let mut names = names.iter().copied().peekable();
        for (field, json) in from.iter() {
            while names.next_if(|name| *name < field).is_some() {}
            if let Some(name) = names.next_if(|name| *name == field) {
                self.take_greatest(name, Some(json));
            }
        }
    }

    /// The earliest of times in the one form that the log writes; see [`Self::moment`] for those of others.
    pub(crate) fn take_earliest(&mut self, name: &'a str, time: &str) {
        let is_earlier = |present: Cow<'_, str>| time < &*present;
        if !time.is_empty() && self.text(name).is_none_or(is_earlier) {
            self.set_text(name, time);
        }
    }

    /// Raises a whole number.
    pub(crate) fn take_highest(&mut self, name: &'a str, number: Option<i64>) {
        if let Some(number) = number
            && self.integer(name).is_none_or(|present| present < number)
        {
            self.set_number(name, number);
        }
    }

    /// Whether a stamp is beyond the one that is kept under a name of the fold's own; it is kept then.
    pub(crate) fn advances(&mut self, name: &'a str, stamp: &str) -> bool {
        let advances = self.text(name).is_none_or(|present| &*present < stamp);
        if advances {
            self.set_text(name, stamp);
        }
        advances
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.write(|_| true).into_bytes()
    }

    pub(crate) fn to_json(&self) -> String {
        self.write(|_| true)
    }

    /// Without the fold's own fields.
    pub(crate) fn shown(&self) -> String {
        self.write(|name| !name.starts_with(OWN))
    }

    fn write(&self, wanted: impl Fn(&str) -> bool) -> String {
        let size: usize =
            self.fields.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        let mut out = String::with_capacity(size + 2);
        out.push('{');
        for (name, value) in self.fields.iter().filter(|(name, _)| wanted(name)) {
            if out.len() > 1 {
                out.push(',');
            }
            push_text(&mut out, name);
            out.push(':');
            out.push_str(value);
        }
        out.push('}');
        out
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.fields.binary_search_by(|(present, _)| (**present).cmp(name))
    }
}

/// A JSON string's content.
pub(crate) fn text_of(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(json).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

pub(crate) fn json_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_text(&mut out, text);
    out
}

fn push_text(out: &mut String, text: &str) {
    let is_plain = text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\');
    if is_plain {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

/// JSON texts as a JSON array.
pub(crate) fn json_list(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().collect();
    format!("[{}]", items.join(","))
}

impl<'de: 'a, 'a> Deserialize<'de> for Doc<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Doc<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Doc<'de>, A::Error> {
                let mut fields: Vec<(Cow<'de, str>, Cow<'de, str>)> = Vec::with_capacity(16);
                while let Some(Name(name)) = map.next_key()? {
                    let value: &'de RawValue = map.next_value()?;
                    if value.get() != "null" {
                        fields.push((name, Cow::Borrowed(value.get())));
                    }
                }
                // Our own rows are in order already. Of a name that is there twice the last one counts.
                if !fields.is_sorted_by(|a, b| a.0 < b.0) {
                    fields.reverse();
                    fields.sort_by(|a, b| a.0.cmp(&b.0));
                    fields.dedup_by(|later, kept| later.0 == kept.0);
                }
                Ok(Doc { fields })
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// A name, borrowed unless it has escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    proptest! {
        #[test]
        fn an_object_is_written_back_as_the_same_object(
            names in prop::collection::vec("\\PC{0,6}", 0..6), text in "\\PC{0,12}",
        ) {
            let map: Map<String, Value> =
                names.iter().map(|name| (name.clone(), json!({ "t": text, "n": [1, 2.5] }))).collect();
            let bytes = Value::Object(map.clone()).to_string();
            let doc = Doc::parse(bytes.as_bytes()).unwrap();
            let written = doc.to_bytes();
            let back: Map<String, Value> = serde_json::from_slice(&written).unwrap();
            prop_assert_eq!(&back, &map);
            prop_assert_eq!(Doc::parse(&written).unwrap(), doc);
        }

        #[test]
        fn whatever_is_parsed_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _parsed = Doc::parse(&bytes);
        }

        #[test]
        fn a_row_is_taken_apart_as_it_is_read(
            names in prop::collection::vec("[a-z_]{1,6}|\\PC{0,3}", 0..6),
            values in prop::collection::vec(
                "[0-9]{1,4}|\"\\PC{0,6}\"|\\{\"a\": ?\\[1, \"\\}\"\\]\\}|\\[\\]|true|\"\\\\\"\"", 6,
            ),
        ) {
            let mut doc = Doc::default();
            for (name, value) in names.iter().zip(&values) {
                if serde_json::from_str::<Value>(value).is_ok() {
                    doc.put(name.clone().into(), value.clone().into());
                }
            }
            let row = doc.to_bytes();
            prop_assert_eq!(Doc::row(Some(&row)), doc);
        }

        #[test]
        fn taking_apart_never_fails(
            bytes in prop::collection::vec(prop::sample::select(b"{}[]\",:\\a1 ".to_vec()), 0..40),
        ) {
            // A row that no fold has written may be refused or misread, but never fails.
            let _row = Doc::row(Some(&bytes));
        }

        #[test]
        fn a_text_is_read_back(text in "\\PC{0,20}|\"\\\\\"|a\"b|\n") {
            let mut doc = Doc::default();
            doc.set_text("t", &text);
            let bytes = doc.to_bytes();
            let parsed = Doc::parse(&bytes).unwrap();
            prop_assert_eq!(parsed.text("t").unwrap(), text);
        }
    }

    #[test]
    fn what_is_taken_does_not_depend_on_the_order() {
        let values = ["\"b\"", "\"a\"", "\"c\""];
        let take = |order: [usize; 3]| {
            let mut doc = Doc::default();
            for at in order {
                doc.take_greatest("f", Some(values[at]));
                doc.take_highest("n", Some(at as i64));
                doc.take_earliest("t", ["2026-02", "2026-01", "2026-03"][at]);
            }
            doc.to_json()
        };
        assert_eq!(take([0, 1, 2]), r#"{"f":"c","n":2,"t":"2026-01"}"#);
        assert_eq!(take([0, 1, 2]), take([2, 1, 0]));
    }

    #[test]
    fn fields_are_taken_together_as_each_would_be() {
        const NAMES: [&str; 4] = ["a", "c", "e", "f"];
        let from = Doc::parse(br#"{"b":1,"c":"2","d":3,"e":"1","f":"9","g":0}"#).unwrap();
        let (mut together, mut each) = (Doc::parse(br#"{"e":"5","x":1}"#).unwrap(), Doc::default());
        each.set("e", "\"5\"");
        each.set("x", "1");
        together.take_greatest_of(&NAMES, &from);
        NAMES.into_iter().for_each(|name| each.take_greatest(name, from.get(name)));
        assert_eq!(together, each);
        assert_eq!(together.to_json(), r#"{"c":"2","e":"5","f":"9","x":1}"#);
    }

    #[test]
    fn the_last_of_two_fields_of_one_name_counts_and_null_is_nothing() {
        let doc = Doc::parse(br#"{"b":1,"a":null,"b":2,"_c":3}"#).unwrap();
        assert_eq!((doc.get("a"), doc.get("b")), (None, Some("2")));
        assert_eq!(doc.shown(), r#"{"b":2}"#);
    }
}

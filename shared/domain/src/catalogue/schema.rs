//! JSON Schemas as the catalogue writes them, made whole and compiled.
//!
//! A schema is strict unless it says otherwise: an object, no unknown properties.
//! A property or an item may be the name of a declared type instead of a schema; `text?` also allows null.

use std::collections::BTreeMap;

use jsonschema::Validator;
use jsonschema::error::ValidationErrorKind;
use serde_json::{Map, Value, json};

/// Named schemas (`id`, `time`, …) that entries refer to.
pub(super) type NamedTypes = BTreeMap<String, Value>;

pub(super) struct Schema {
    document: Value,
    validator: Validator,
}

/// Why data is invalid. It never repeats the data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// RFC 6901, from the data's root.
    pub pointer: String,
    pub reason: String,
}

impl Schema {
    /// Of an event's data: an object that may always carry a `timestamp`.
    pub(super) fn of_event(written: &Value, types: &NamedTypes) -> Result<Self, String> {
        let mut document = expand(written, types)?;
        let object = document.as_object_mut().ok_or("the schema must be a table")?;
        if *object.entry("type").or_insert(json!("object")) != json!("object") {
            return Err("data is always an object".to_owned());
        }
        let properties = object.entry("properties").or_insert_with(|| json!({}));
        let properties = properties.as_object_mut().ok_or("properties must be a table")?;
        if !properties.contains_key("timestamp") {
            let time = types.get("time").cloned().unwrap_or_else(|| json!({ "type": "string" }));
            properties.insert("timestamp".to_owned(), time);
        }
        object.entry("additionalProperties").or_insert(json!(false));
        Self::compile(document)
    }

    /// Of a session frame, which may be anything JSON.
    pub(super) fn of_frame(written: &Value, types: &NamedTypes) -> Result<Self, String> {
        Self::compile(expand(written, types)?)
    }

    fn compile(document: Value) -> Result<Self, String> {
        let validator = jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .should_validate_formats(true)
            .should_ignore_unknown_formats(false)
            .build(&within_64_bits(document.clone()))
            .map_err(|error| format!("the schema is wrong: {error}"))?;
        Ok(Self { document, validator })
    }

    pub(super) fn document(&self) -> &Value {
        &self.document
    }

    pub(super) fn validate(&self, data: &Value) -> Result<(), Violation> {
        // The yes-or-no walk allocates nothing; the reason is looked for only when there is one.
        if self.validator.is_valid(data) {
            return Ok(());
        }
        match self.validator.iter_errors(data).next() {
            Some(error) => Err(violation(&error)),
            None => Ok(()),
        }
    }

    /// Whether valid data always has something at this path.
    pub(super) fn requires(&self, path: &[String]) -> bool {
        let mut schema = &self.document;
        path.iter().all(|name| {
            let required = schema["required"].as_array();
            let here = required.is_some_and(|names| names.iter().any(|n| n == name.as_str()));
            schema = &schema["properties"][name];
            here
        })
    }

    /// Whether there is a text or a list at this path, which may be null.
    pub(super) fn has_text_or_list(&self, path: &str) -> bool {
        let is_either = |kind: &str| matches!(kind, "string" | "array");
        let mut schema = &self.document;
        for name in path.split('.') {
            schema = &schema["properties"][name];
        }
        match &schema["type"] {
            Value::String(kind) => is_either(kind),
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).any(is_either),
            _ => false,
        }
    }

    pub(super) fn has_property(&self, name: &str) -> bool {
        self.document["properties"].get(name).is_some()
    }
}

/// Whole numbers beyond 64 bits are read as the nearest fraction, so that another number than the one that was sent
/// would be stored: where a schema wants a whole number it is refused.
fn within_64_bits(schema: Value) -> Value {
    match schema {
        Value::Object(mut table) => {
            let is_integer = match table.get("type") {
                Some(Value::String(kind)) => kind == "integer",
                Some(Value::Array(kinds)) => {
                    kinds.contains(&json!("integer")) && !kinds.contains(&json!("number"))
                }
                _ => false,
            };
            if is_integer {
                table.entry("minimum").or_insert(json!(i64::MIN));
                table.entry("maximum").or_insert(json!(u64::MAX));
            }
            let whole = table.into_iter().map(|(name, value)| (name, within_64_bits(value)));
            Value::Object(whole.collect())
        }
        Value::Array(schemas) => schemas.into_iter().map(within_64_bits).collect(),
        other => other,
    }
}

fn violation(error: &jsonschema::ValidationError<'_>) -> Violation {
    let mut pointer = error.instance_path().as_str().to_owned();
    // The place of a missing or surplus property is the property, not the object around it.
    let (name, reason) = match error.kind() {
        ValidationErrorKind::Required { property } => (property.as_str(), "is required".to_owned()),
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            (unexpected.first().map(String::as_str), "is not a known field".to_owned())
        }
        ValidationErrorKind::AnyOf { .. } | ValidationErrorKind::OneOfNotValid { .. } => {
            (None, "fits none of the allowed forms".to_owned())
        }
        // The other kinds name the rule only; `masked` keeps the value out of the text.
        _ => (None, error.masked().to_string()),
    };
    if let Some(name) = name {
        pointer.push('/');
        pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
    }
    Violation { pointer, reason }
}

fn named(name: &str, types: &NamedTypes) -> Result<Value, String> {
    let (base, nullable) = match name.strip_suffix('?') {
        Some(base) => (base, true),
        None => (name, false),
    };
    let mut schema =
        types.get(base).cloned().ok_or_else(|| format!("{name:?} is no declared type"))?;
    if nullable {
        let of =
            schema["type"].as_str().ok_or_else(|| format!("{base} cannot be written {name}"))?;
        schema["type"] = json!([of, "null"]);
    }
    Ok(schema)
}

/// Replaces named types and makes objects strict.
fn expand(written: &Value, types: &NamedTypes) -> Result<Value, String> {
    let table = match written {
        Value::String(name) => return named(name, types),
        Value::Object(table) => table,
        Value::Bool(_) => return Ok(written.clone()),
        Value::Null | Value::Number(_) | Value::Array(_) => {
            return Err("a schema is a table or the name of a declared type".to_owned());
        }
    };
    let mut whole = Map::new();
    for (keyword, value) in table {
        whole.insert(keyword.clone(), expand_keyword(keyword, value, types)?);
    }
    if whole.contains_key("properties") {
        whole.entry("type").or_insert(json!("object"));
        whole.entry("additionalProperties").or_insert(json!(false));
    }
    Ok(Value::Object(whole))
}

fn expand_keyword(keyword: &str, value: &Value, types: &NamedTypes) -> Result<Value, String> {
    match (keyword, value) {
        ("properties", Value::Object(properties)) => properties
            .iter()
            .map(|(name, schema)| {
                let schema = expand(schema, types).map_err(|error| format!("{name}: {error}"))?;
                Ok((name.clone(), schema))
            })
            .collect::<Result<Map<_, _>, String>>()
            .map(Value::Object),
        ("items" | "additionalProperties", schema) => expand(schema, types),
        ("oneOf", Value::Array(schemas)) => schemas
            .iter()
            .map(|schema| expand(schema, types))
            .collect::<Result<Vec<_>, _>>()
            .map(Value::Array),
        _ => Ok(value.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(written: Value) -> Schema {
        let types = NamedTypes::from([
            ("id".to_owned(), json!({"type": "string", "minLength": 1})),
            ("time".to_owned(), json!({"type": "string", "format": "date-time"})),
        ]);
        Schema::of_event(&written, &types).unwrap_or_else(|error| panic!("{error}"))
    }

    #[track_caller]
    fn refused_at(schema: &Schema, data: Value, pointer: &str) {
        let violation = schema.validate(&data).unwrap_err();
        assert_eq!(violation.pointer, pointer, "{}", violation.reason);
        assert!(!violation.reason.contains("secret"), "{}", violation.reason);
    }

    #[test]
    fn what_is_wrong_is_named_by_pointer_and_never_repeated() {
        let schema = schema(json!({
            "required": ["a"],
            "properties": {"a": "id", "b": {"properties": {"n": {"type": "integer"}}}},
        }));
        assert!(schema.validate(&json!({"a": "1", "timestamp": "2026-01-01T00:00:00Z"})).is_ok());
        refused_at(&schema, json!({}), "/a");
        refused_at(&schema, json!({"a": "1", "x/y": "secret"}), "/x~1y");
        refused_at(&schema, json!({"a": "1", "b": {"n": "secret"}}), "/b/n");
        refused_at(&schema, json!({"a": "1", "b": {"c": "secret"}}), "/b/c");
        refused_at(&schema, json!({"a": "1", "timestamp": "secret"}), "/timestamp");
        refused_at(&schema, json!("secret"), "");
    }

    #[test]
    fn a_whole_number_beyond_64_bits_is_refused_and_not_rounded() {
        let count = json!({"type": "integer", "minimum": 0});
        let schema = schema(json!({"properties": {
            "n": {"type": "integer"}, "maybe": {"type": ["integer", "null"]}, "any": {"type": "number"},
            "list": {"type": "array", "items": count},
        }}));
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let (least, most) = ("-9223372036854775808", "18446744073709551615");
        for fine in [least, most, "3.0"] {
            assert!(
                schema.validate(&read(&format!(r#"{{"n":{fine},"maybe":null}}"#))).is_ok(),
                "{fine}"
            );
        }
        assert!(schema.validate(&read(r#"{"any":1180591620717411303424}"#)).is_ok());
        for far in ["1180591620717411303424", "18446744073709551616", "-9223372036854777856"] {
            refused_at(&schema, read(&format!(r#"{{"n":{far}}}"#)), "/n");
            refused_at(&schema, read(&format!(r#"{{"maybe":{far}}}"#)), "/maybe");
            refused_at(&schema, read(&format!(r#"{{"list":[{far}]}}"#)), "/list/0");
        }
    }

    #[test]
    fn a_question_mark_allows_null() {
        let schema = schema(json!({"properties": {"a": "id?", "b": "id"}}));
        assert!(schema.validate(&json!({"a": null})).is_ok());
        refused_at(&schema, json!({"b": null}), "/b");
        refused_at(&schema, json!({"a": ""}), "/a");
    }

    #[test]
    fn requirements_are_known_by_path() {
        let schema = schema(json!({
            "required": ["a"],
            "properties": {"a": {"required": ["b"], "properties": {"b": "id"}}, "c": "id"},
        }));
        let path = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert!(schema.requires(&path(&["a", "b"])));
        assert!(!schema.requires(&path(&["c"])));
    }

    #[test]
    fn an_undeclared_type_and_a_wrong_schema_are_refused() {
        let types = NamedTypes::new();
        assert!(Schema::of_event(&json!({"properties": {"a": "nothing"}}), &types).is_err());
        assert!(
            Schema::of_event(&json!({"properties": {"a": {"type": "texts"}}}), &types).is_err()
        );
        assert!(Schema::of_event(&json!({"type": "array"}), &types).is_err());
    }
}

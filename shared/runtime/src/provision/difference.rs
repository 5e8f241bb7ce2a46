//! Compares a declared configuration with the one the server has.

use std::fmt;

use serde_json::Value;

use super::units::readable;

/// One declared field that is otherwise on the server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    pub field: String,
    pub declared: String,
    pub found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: declared {}, found {}", self.field, self.declared, self.found)
    }
}

/// Only declared fields count: the server adds defaults and metadata of its own.
pub(super) fn between(declared: &Value, found: &Value) -> Vec<Difference> {
    let Some(fields) = declared.as_object() else { return Vec::new() };
    fields
        .iter()
        .filter(|(field, value)| !same(value, &found[field.as_str()]))
        .map(|(field, value)| Difference {
            field: field.clone(),
            declared: readable(field, value),
            found: match &found[field.as_str()] {
                Value::Null => "nothing".to_owned(),
                value => readable(field, value),
            },
        })
        .collect()
}

/// What is found, with what is declared in its place.
pub(super) fn merge(mut found: Value, declared: &Value) -> Value {
    for (field, value) in declared.as_object().into_iter().flatten() {
        found[field.as_str()] = value.clone();
    }
    found
}

fn same(declared: &Value, found: &Value) -> bool {
    match (declared, found) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().all(|one| b.contains(one))
        }
        // The server leaves out what is zero, and tells "no limit" as -1.
        (declared, Value::Null) => is_nothing(declared),
        (declared, found) => declared == found || (is_nothing(declared) && is_nothing(found)),
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => matches!(number.as_i64(), Some(0 | -1)),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_difference_reads_like_the_file() {
        let declared = json!({"max_age": 2_592_000_000_000_000_u64, "subjects": ["a.>", "b.>"], "deny_purge": false});
        let found =
            json!({"max_age": 3_600_000_000_000_u64, "subjects": ["b.>", "a.>"], "sealed": false});
        let differences: Vec<String> =
            between(&declared, &found).iter().map(ToString::to_string).collect();
        assert_eq!(differences, ["max_age: declared 30d, found 1h"]);
    }
}

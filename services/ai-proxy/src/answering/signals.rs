//! What an AI says that it found, as short names: the alert goes to people who may not read the conversation.
//!
//! Pure. Nothing that a model writes here may cost the alert.

use serde_json::Value;

const MOST: usize = 64;
const MAX_NAME: usize = 64;
/// Stands for what has no short name.
const OTHER: &str = "other";
/// Where a signal that is described by fields may have its name.
const NAMES: [&str; 5] = ["name", "type", "signal", "category", "label"];

/// Each once, in the order in which they were told.
pub(super) fn named(told: Option<&Value>) -> Vec<String> {
    let items = match told {
        None | Some(Value::Null) => &[],
        Some(Value::Array(items)) => items.as_slice(),
        Some(one) => std::slice::from_ref(one),
    };
    let mut names: Vec<String> = Vec::new();
    for name in items.iter().filter_map(name).take(MOST) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn name(item: &Value) -> Option<String> {
    let name = match item {
        Value::Null => return None,
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Object(fields) => {
            let name = NAMES.iter().find_map(|name| fields.get(*name)?.as_str());
            name.unwrap_or(OTHER).trim().to_owned()
        }
        Value::Bool(_) | Value::Array(_) => OTHER.to_owned(),
    };
    let is_short = (1..=MAX_NAME).contains(&name.chars().count());
    Some(if is_short { name } else { OTHER.to_owned() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_short_names_are_kept_whatever_a_model_writes() {
        let told = json!(["plan", 7, null, ["x"], true, { "type": "means" }, { "x": 1 }, "", "plan",
            "a sentence of the person that is far too long to be the name of anything at all"]);
        assert_eq!(named(Some(&told)), ["plan", "7", "other", "means"]);
        assert_eq!(named(Some(&json!("plan"))), ["plan"]);
        for nothing in [json!(null), json!([])] {
            assert!(named(Some(&nothing)).is_empty());
        }
        assert!(named(None).is_empty());
    }

    #[test]
    fn an_endless_list_is_cut() {
        let told: Vec<Value> = (0..1000).map(|at| json!(at)).collect();
        assert_eq!(named(Some(&Value::Array(told))).len(), MOST);
    }
}

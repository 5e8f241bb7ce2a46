//! What an AI service says about its answer, brought into the form that the catalogue knows.
//!
//! Pure: an answer is never lost for how a flag is written, and a crisis never for how it is spelled.

use serde_json::{Map, Value, json};

/// Where answers of the service of application 001 hold their text; its own document names none.
pub(super) const TEXTS: [&str; 6] = ["response", "message", "text", "reply", "answer", "content"];

/// What is no word to the person, though it may be written in words.
const NO_WORDS: [&str; 13] = [
    "severity",
    "safety_state",
    "detected_signals",
    "resources",
    "timestamp",
    "status",
    "model",
    "userId",
    "conversationId",
    "messageId",
    "requestId",
    "id",
    "emotion",
];

/// Whether an object says anything, under whatever name.
pub(super) fn says_something(object: &Map<String, Value>) -> bool {
    object.iter().any(|(name, value)| !NO_WORDS.contains(&name.as_str()) && holds_words(value))
}

fn holds_words(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.trim().is_empty(),
        Value::Object(fields) => says_something(fields),
        Value::Array(items) => items.iter().any(holds_words),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The object as the catalogue knows it: a field of another form than it should have is brought into it, so that
/// an answer is never lost for how a flag is written, and a crisis never for how it is spelled.
pub(super) fn tidied(mut object: Map<String, Value>) -> Map<String, Value> {
    let said = object.get("crisis_detected");
    let crisis = match said {
        None | Some(Value::Null) => false,
        Some(Value::Bool(flag)) => *flag,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::String(text)) => {
            !["", "0", "false", "no", "none"].contains(&text.trim().to_ascii_lowercase().as_str())
        }
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(fields)) => !fields.is_empty(),
    };
    object.insert("crisis_detected".to_owned(), json!(crisis));
    object.retain(|name, value| !(value.is_null() && TEXTS.contains(&name.as_str())));
    let keep = |name: &str, fits: fn(&Value) -> bool, object: &mut Map<String, Value>| {
        if object.get(name).is_some_and(|value| !value.is_null() && !fits(value)) {
            object.remove(name);
        }
    };
    keep("severity", Value::is_string, &mut object);
    keep("response", Value::is_string, &mut object);
    keep("safety_state", |value| value.is_string() || value.is_object(), &mut object);
    keep("timestamp", |value| value.is_string(), &mut object);
    for name in ["detected_signals", "resources"] {
        if let Some(value) = object.remove(name) {
            object.insert(name.to_owned(), listed(value));
        }
    }
    object
}

fn listed(value: Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Array(items) => items
            .into_iter()
            .map(|item| if item.is_object() { item } else { json!(plain(&item)) })
            .collect(),
        one if one.is_object() => json!([one]),
        one => json!([plain(&one)]),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tidy(value: Value) -> Value {
        Value::Object(tidied(value.as_object().unwrap().clone()))
    }

    #[test]
    fn a_crisis_counts_however_it_is_written() {
        for flag in [json!(true), json!("True"), json!(1), json!("yes"), json!({ "a": 1 })] {
            assert_eq!(tidy(json!({ "crisis_detected": flag }))["crisis_detected"], true);
        }
        for flag in [json!(false), json!("false"), json!(0), Value::Null] {
            assert_eq!(tidy(json!({ "crisis_detected": flag }))["crisis_detected"], false);
        }
        assert_eq!(tidy(json!({}))["crisis_detected"], false);
    }

    #[test]
    fn only_words_to_the_person_say_something() {
        let says = |value: Value| says_something(value.as_object().unwrap());
        for words in [
            json!({ "response": "Yes." }),
            json!({ "said": "Yes." }),
            json!({ "data": { "text": "Yes." } }),
        ] {
            assert!(says(words.clone()), "{words}");
        }
        for none in [
            json!({}),
            json!({ "foo": [1, 2, 3] }),
            json!({ "response": " ", "crisis_detected": false, "severity": "low" }),
            json!({ "conversationId": "c-1", "resources": ["988"], "status": "ok" }),
        ] {
            assert!(!says(none.clone()), "{none}");
        }
    }

    #[test]
    fn fields_of_another_form_do_not_cost_the_answer() {
        let told = json!({ "crisis_detected": true, "severity": 9, "detected_signals": "plan",
            "resources": [988, { "name": "Lifeline" }], "safety_state": [1], "mood": "low" });
        let expected = json!({ "crisis_detected": true, "mood": "low", "detected_signals": ["plan"],
            "resources": ["988", { "name": "Lifeline" }] });
        assert_eq!(tidy(told), expected);
    }
}

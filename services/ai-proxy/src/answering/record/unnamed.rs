//! What an AI service adds to its answer of its own accord: nobody has said what it holds, so it is sealed as the
//! answer is. Clients get it as it came.
//!
//! Pure.

use std::borrow::Cow;

use domain::protection::Protection;
use serde_json::{Map, Value};

const ANSWER: &str = "ai.response";
/// What is read without a key: ids, flags, and words of a closed set.
const CLEAR: [&str; 7] = [
    "conversationId",
    "messageId",
    "userId",
    "attempt",
    "crisis_detected",
    "resources",
    "timestamp",
];
/// The same as long as it is one word: a model that writes more there writes what it likes.
const WORDS: [&str; 3] = ["severity", "safety_state", "finish_reason"];
const MAX_WORD: usize = 40;

/// The protection of a record with every field that it does not name.
pub(super) fn protected<'a>(
    kind: &str,
    data: &mut Map<String, Value>,
    named: &'a Protection,
) -> Cow<'a, Protection> {
    if kind != ANSWER {
        return Cow::Borrowed(named);
    }
    // A dot in a field's name leads into an object where fields are sealed, so one of these could not be.
    data.retain(|name, _| !name.contains('.'));
    let is_clear = |name: &str, value: &Value| {
        (CLEAR.contains(&name) && !(value.is_object() || value.is_null()))
            || (WORDS.contains(&name) && value.as_str().is_some_and(is_word))
    };
    let unnamed = data.iter().filter(|(name, value)| {
        !value.is_null() && !is_clear(name, value) && !named.fields.contains(name)
    });
    let unnamed: Vec<String> = unnamed.map(|(name, _)| name.clone()).collect();
    let mut all = named.clone();
    all.fields.extend(unnamed);
    Cow::Owned(all)
}

fn is_word(text: &str) -> bool {
    text.len() <= MAX_WORD
        && text.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use domain::token::Token;
    use serde_json::json;

    use super::*;

    #[test]
    fn whatever_a_service_adds_is_sealed_and_what_is_named_as_clear_is_not() {
        let named = Protection {
            kind: Token::parse("user").unwrap(),
            id_field: "userId".to_owned(),
            fields: vec!["response".to_owned()],
            always: true,
        };
        let mut data = json!({ "conversationId": "c-9", "userId": "7", "response": "Hello.",
            "crisis_detected": true, "severity": "high", "detected_signals": ["plan"], "mood": 3,
            "notes": { "of": "the person" }, "nothing": null, "a.b": "x", "resources": ["988"],
            "safety_state": { "of": "the person" } });
        let protection = protected(ANSWER, data.as_object_mut().unwrap(), &named).into_owned();
        let mut fields = protection.fields;
        fields.sort();
        let expected = ["detected_signals", "mood", "notes", "response", "safety_state"];
        assert_eq!(fields, expected);
        assert_eq!(data.get("a.b"), None);
        let mut wordy = json!({ "severity": "high, since Anna left", "safety_state": "crisis",
            "finish_reason": ["Anna"] });
        let protection = protected(ANSWER, wordy.as_object_mut().unwrap(), &named).into_owned();
        let mut fields = protection.fields;
        fields.sort();
        assert_eq!(fields, ["finish_reason", "response", "severity"]);
    }
}

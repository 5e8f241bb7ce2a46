//! What an AI says that it found, as short names: the alert goes to people who may not read the conversation, and it is
//! kept when the conversation has been erased.
//!
//! Pure. Nothing that a model writes here may cost the alert, nor bring the person's own words into it.

use std::collections::HashSet;

use serde_json::Value;

use crate::providers::{Question, Speaker};

const MOST: usize = 64;
const MAX_LETTERS: usize = 40;
const MAX_WORDS: usize = 4;
/// Stands for what has no short name.
const OTHER: &str = "other";
/// Where a signal that is described by fields may have its name.
const NAMES: [&str; 5] = ["name", "type", "signal", "category", "label"];
/// The words of which the screen's rules make their names, and a few more of the same kind: they tell nothing of a
/// person, although the person may have said them.
const KNOWN: [&str; 32] = [
    "abuse",
    "access",
    "and",
    "attempt",
    "concern",
    "crisis",
    "danger",
    "die",
    "distress",
    "for",
    "harm",
    "hopelessness",
    "ideation",
    "intent",
    "means",
    "method",
    "negated",
    "of",
    "other",
    "overdose",
    "past",
    "plan",
    "risk",
    "safety",
    "self",
    "suicidal",
    "suicide",
    "thoughts",
    "to",
    "victim",
    "violence",
    "wish",
];

/// What the AI knows of the person, in forms that are compared.
pub(super) struct Said {
    words: HashSet<String>,
    /// Letters and digits alone, of each thing that was said.
    letters: Vec<String>,
}

impl Said {
    /// All that was sent to the AI of what people said.
    pub(super) fn in_question(question: &Question) -> Self {
        let before = question.history.iter().filter(|turn| turn.speaker == Speaker::User);
        let all = before.map(|turn| &*turn.text).chain([&*question.text]);
        all.fold(Self { words: HashSet::new(), letters: Vec::new() }, |mut said, text| {
            said.words.extend(words(text));
            said.letters.push(words(text).collect());
            said
        })
    }

    /// Whether a name is made of what was said: a word of it, unless that is a known one, or all of it written as one.
    fn holds(&self, name: &str) -> bool {
        let mut unknown = words(name).filter(|word| !KNOWN.contains(&&**word)).peekable();
        if unknown.peek().is_none() {
            return false;
        }
        let whole: String = words(name).collect();
        unknown.any(|word| self.words.contains(&word))
            || self.letters.iter().any(|letters| letters.contains(&whole))
    }
}

/// Letters and digits that stand together, in small letters.
fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    let words = text.split(|letter: char| !letter.is_alphanumeric());
    words.filter(|word| !word.is_empty()).map(str::to_lowercase)
}

/// Each once, in the order in which they were told.
pub(super) fn named(told: Option<&Value>, said: &Said) -> Vec<String> {
    let items = match told {
        None | Some(Value::Null) => &[],
        Some(Value::Array(items)) => items.as_slice(),
        Some(one) => std::slice::from_ref(one),
    };
    let mut names: Vec<String> = Vec::new();
    for text in items.iter().filter_map(text).take(MOST) {
        let name = if is_name(&text, said) { text } else { OTHER.to_owned() };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Whether a text has the form of a name and holds nothing that was said.
pub(super) fn is_name(text: &str, said: &Said) -> bool {
    let is_word = |word: &str| {
        !word.is_empty() && word.chars().all(|it| it.is_alphanumeric() || matches!(it, '_' | '-'))
    };
    text.chars().count() <= MAX_LETTERS
        && text.split(' ').count() <= MAX_WORDS
        && text.split(' ').all(is_word)
        && !said.holds(text)
}

fn text(item: &Value) -> Option<String> {
    Some(match item {
        Value::Null => return None,
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Object(fields) => {
            let name = NAMES.iter().find_map(|name| fields.get(*name)?.as_str());
            name.unwrap_or(OTHER).trim().to_owned()
        }
        Value::Bool(_) | Value::Array(_) => OTHER.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::providers::Turn;

    fn said(text: &str, before: &[&str]) -> Said {
        let turn = |text: &&str| Turn { speaker: Speaker::User, text: (*text).to_owned() };
        Said::in_question(&Question {
            conversation: "c".into(),
            user: "7".into(),
            message: "m".into(),
            request_id: "r".into(),
            idempotency_key: "k".into(),
            text: text.into(),
            system: String::new(),
            history: before.iter().map(turn).collect(),
            crisis_text: String::new(),
        })
    }

    #[test]
    fn only_short_names_are_kept_whatever_a_model_writes() {
        let told = json!(["plan", 7, null, ["x"], true, { "type": "means" }, { "x": 1 }, "", "plan",
            "risk of self-harm", "wish_to_die", "five words are too many", "one  two", "a.b", "why?",
            "a-word-of-more-letters-than-any-name-may-have"]);
        let names = named(Some(&told), &said("Hello.", &[]));
        assert_eq!(names, ["plan", "7", "other", "means", "risk of self-harm", "wish_to_die"]);
        assert_eq!(named(Some(&json!("plan")), &said("", &[])), ["plan"]);
        for nothing in [json!(null), json!([])] {
            assert!(named(Some(&nothing), &said("", &[])).is_empty());
        }
        assert!(named(None, &said("", &[])).is_empty());
    }

    #[test]
    fn what_the_person_said_is_no_name_however_it_is_written() {
        let said = said(
            "My friend Anna has a PLAN. Her number is 555-0101, I want to die.",
            &["Ottokar's gun"],
        );
        for words in [
            "Anna",
            "anna",
            "friend_anna",
            "plan of Anna",
            "5550101",
            "555-0101",
            "IWantToDie",
            "ottokar",
            "gun",
            "want to die",
            "want-to-die",
            "riend",
        ] {
            assert_eq!(named(Some(&json!([words])), &said), [OTHER], "{words}");
        }
        for name in ["plan", "suicide_plan", "wish to die", "self-harm", "firearm"] {
            assert_eq!(named(Some(&json!([name])), &said), [name]);
        }
    }

    #[test]
    fn an_endless_list_is_cut() {
        let told: Vec<Value> = (0..1000).map(|at| json!(at)).collect();
        assert_eq!(named(Some(&Value::Array(told)), &said("", &[])).len(), MOST);
    }
}

//! Texts with holes that are filled from an event's data: `call:{callSid}`, `{message.id}`,
//! `{conversationId|userId}` (the first that is there), `contact:{contactId?}` (left out when absent).

use serde_json::Value;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Literal(String),
    Hole(Hole),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Hole {
    /// Each a path of field names.
    alternatives: Vec<Vec<String>>,
    optional: bool,
}

/// A hole that had to be filled and could not be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Unfilled {
    pub(super) pointer: String,
}

impl Template {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, behind)) = rest.split_once('{') {
            let (hole, behind) =
                behind.split_once('}').ok_or_else(|| format!("{text:?}: a {{ is never closed"))?;
            push_literal(&mut parts, literal);
            parts.push(Part::Hole(Hole::parse(hole).ok_or_else(|| {
                format!(
                    "{text:?}: {{{hole}}} is no field path such as {{callSid}} or {{message.id}}"
                )
            })?));
            rest = behind;
        }
        push_literal(&mut parts, rest);
        if parts.is_empty() {
            Err("is empty".to_owned())
        } else {
            Ok(Self { text: text.to_owned(), parts })
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The text with every hole written `{}`: what a declared channel has in common with a template for it.
    pub(super) fn shape(&self) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Literal(text) => text.as_str(),
                Part::Hole(_) => "{}",
            })
            .collect()
    }

    pub(super) fn holes(&self) -> impl Iterator<Item = &Hole> {
        self.parts.iter().filter_map(|part| match part {
            Part::Literal(_) => None,
            Part::Hole(hole) => Some(hole),
        })
    }

    /// `Ok(None)` when an optional hole has nothing to fill it.
    pub(super) fn fill(&self, data: &Value) -> Result<Option<String>, Unfilled> {
        let mut filled = String::with_capacity(self.text.len() + 32);
        for part in &self.parts {
            match part {
                Part::Literal(text) => filled.push_str(text),
                Part::Hole(hole) if hole.push(data, &mut filled) => {}
                Part::Hole(hole) if hole.optional => return Ok(None),
                Part::Hole(hole) => return Err(Unfilled { pointer: hole.pointer() }),
            }
        }
        Ok(Some(filled))
    }
}

fn push_literal(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        parts.push(Part::Literal(text.to_owned()));
    }
}

impl Hole {
    fn parse(text: &str) -> Option<Self> {
        let (text, optional) = match text.strip_suffix('?') {
            Some(text) => (text, true),
            None => (text, false),
        };
        let alternatives: Vec<Vec<String>> =
            text.split('|').map(|path| path.split('.').map(str::to_owned).collect()).collect();
        let named = |name: &String| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        alternatives.iter().flatten().all(named).then_some(Self { alternatives, optional })
    }

    pub(super) fn is_optional(&self) -> bool {
        self.optional
    }

    /// The path that the data must always have, where the hole leaves no choice.
    pub(super) fn required_path(&self) -> Option<&[String]> {
        match self.alternatives.as_slice() {
            [path] if !self.optional => Some(path),
            _ => None,
        }
    }

    fn push(&self, data: &Value, filled: &mut String) -> bool {
        self.alternatives.iter().any(|path| {
            let found = path.iter().try_fold(data, |value, name| value.get(name));
            match found {
                Some(Value::String(text)) if !text.is_empty() => filled.push_str(text),
                Some(Value::Number(number)) => filled.push_str(&number.to_string()),
                _ => return false,
            }
            true
        })
    }

    fn pointer(&self) -> String {
        self.alternatives.first().map_or_else(String::new, |path| format!("/{}", path.join("/")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn fill(template: &str, data: Value) -> Result<Option<String>, Unfilled> {
        Template::parse(template).unwrap().fill(&data)
    }

    #[test]
    fn holes_are_filled_by_path() {
        assert_eq!(fill("call:{callSid}", json!({"callSid": "CA1"})), Ok(Some("call:CA1".into())));
        assert_eq!(fill("{message.id}", json!({"message": {"id": 7}})), Ok(Some("7".into())));
        assert_eq!(fill("calls", json!({})), Ok(Some("calls".into())));
    }

    #[test]
    fn the_first_alternative_that_is_there_fills_the_hole() {
        assert_eq!(fill("{a|b}", json!({"b": "2"})), Ok(Some("2".into())));
        assert_eq!(fill("{a|b}", json!({"a": "1", "b": "2"})), Ok(Some("1".into())));
    }

    #[test]
    fn a_missing_field_drops_an_optional_text_and_names_a_required_one() {
        assert_eq!(fill("contact:{contactId?}", json!({"contactId": ""})), Ok(None));
        assert_eq!(fill("{a.b}", json!({"a": {}})), Err(Unfilled { pointer: "/a/b".into() }));
    }

    #[test]
    fn malformed_templates_are_refused() {
        for bad in ["", "call:{callSid", "call:{}", "{a..b}", "{a b}", "{a|}"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_shape_forgets_the_names_of_fields() {
        assert_eq!(Template::parse("call:{data.callSid}").unwrap().shape(), "call:{}");
    }
}

//! A chat completion put together from its chunks, with what differs between servers allowed for.
//!
//! Pure. It must not know how the chunks come.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::providers::tidy::tidied;
use crate::providers::{Crisis, MAX_ANSWER, Reason, Usage};

/// The tool by which a model reports a crisis; offered where the settings say so.
pub(super) const CRISIS_TOOL: &str = "report_crisis";
pub(super) const DONE: &str = "[DONE]";
/// Pieces of tool calls that are kept; the one tool there is takes few arguments.
const MAX_ARGUMENTS: usize = 16 * 1024;
const MAX_TOOLS: usize = 8;
const MAX_NAME: usize = 512;

#[derive(Default)]
pub(super) struct Completion {
    pub(super) text: String,
    pub(super) model: Option<String>,
    pub(super) usage: Option<Usage>,
    finish: Option<String>,
    tools: BTreeMap<u32, Tool>,
}

#[derive(Default)]
struct Tool {
    name: String,
    arguments: String,
}

/// What a chunk brought.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Step {
    Piece(String),
    Nothing,
    Done,
}

#[derive(Deserialize)]
struct Chunk {
    choices: Option<Vec<Choice>>,
    usage: Option<Value>,
    error: Option<Value>,
    model: Option<String>,
}

#[derive(Deserialize)]
struct Choice {
    index: Option<u32>,
    delta: Option<Delta>,
    /// In place of `delta` when a server answers without streaming.
    message: Option<Delta>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<Content>,
    refusal: Option<String>,
    tool_calls: Option<Vec<ToolPiece>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    text: Option<String>,
}

#[derive(Deserialize)]
struct ToolPiece {
    /// Some servers leave it out, or give every call the same.
    index: Option<u32>,
    function: Option<FunctionPiece>,
}

#[derive(Deserialize)]
struct FunctionPiece {
    name: Option<String>,
    /// A text in pieces; some servers send the object itself.
    arguments: Option<Value>,
}

impl Completion {
    /// Takes the data of one event in.
    pub(super) fn take(&mut self, data: &str) -> Result<Step, Reason> {
        if data.trim() == DONE {
            return Ok(Step::Done);
        }
        let chunk: Chunk = serde_json::from_str(data).map_err(|_| Reason::Malformed)?;
        if chunk.error.is_some_and(|error| !error.is_null()) {
            return Err(Reason::Interrupted);
        }
        self.model = chunk.model.or_else(|| self.model.take());
        self.usage = chunk.usage.as_ref().and_then(usage).or(self.usage);
        let mut piece = String::new();
        for choice in chunk.choices.into_iter().flatten().filter(|it| it.index.unwrap_or(0) == 0) {
            self.finish = choice.finish_reason.or_else(|| self.finish.take());
            let Some(delta) = choice.delta.or(choice.message) else { continue };
            piece.push_str(&delta.content.map(Content::text).unwrap_or_default());
            piece.push_str(&delta.refusal.unwrap_or_default());
            delta.tool_calls.into_iter().flatten().for_each(|call| self.tool(call));
        }
        if piece.is_empty() {
            return Ok(Step::Nothing);
        }
        if self.text.len() + piece.len() > MAX_ANSWER {
            return Err(Reason::TooLarge);
        }
        self.text.push_str(&piece);
        Ok(Step::Piece(piece))
    }

    fn tool(&mut self, piece: ToolPiece) {
        let index = piece.index.unwrap_or(0);
        if self.tools.len() >= MAX_TOOLS && !self.tools.contains_key(&index) {
            return;
        }
        let (tool, Some(function)) = (self.tools.entry(index).or_default(), piece.function) else {
            return;
        };
        tool.named(&function.name.unwrap_or_default());
        let arguments = match function.arguments {
            Some(Value::String(piece)) => piece,
            Some(Value::Null) | None => String::new(),
            Some(whole) => whole.to_string(),
        };
        if tool.arguments.len() + arguments.len() <= MAX_ARGUMENTS {
            tool.arguments.push_str(&arguments);
        }
    }

    /// The finished answer; `crisis_text` is said when the model reports a crisis and says nothing else.
    pub(super) fn object(&mut self, crisis_text: &str) -> Result<Map<String, Value>, Reason> {
        let mut object = self.report();
        if Crisis::reported_by(&object) && self.text.trim().is_empty() {
            crisis_text.clone_into(&mut self.text);
        }
        if self.text.trim().is_empty() {
            return Err(if self.tools.is_empty() { Reason::Empty } else { Reason::Unsupported });
        }
        object.insert("response".to_owned(), json!(self.text));
        object.extend(self.finish.take().map(|why| ("finish_reason".to_owned(), json!(why))));
        Ok(tidied(object))
    }

    /// What the model has said of a crisis so far.
    pub(super) fn report(&self) -> Map<String, Value> {
        let crisis = self.tools.values().find(|tool| tool.reports_crisis());
        let mut object = Map::new();
        object.insert("crisis_detected".to_owned(), json!(crisis.is_some()));
        // Arguments that cannot be read leave the severity unknown, which counts as the highest.
        let told = crisis.map(Tool::told).unwrap_or_default();
        for (from, to) in [("severity", "severity"), ("signals", "detected_signals")] {
            object.extend(told.get(from).map(|value| (to.to_owned(), value.clone())));
        }
        object
    }
}

impl Tool {
    /// A name comes in pieces, or whole with every piece of the arguments.
    fn named(&mut self, piece: &str) {
        if self.name != piece && self.name != CRISIS_TOOL && self.name.len() < MAX_NAME {
            self.name.push_str(piece);
        }
    }

    /// Calls that share an index run into one another; a crisis among them still is one.
    fn reports_crisis(&self) -> bool {
        self.name.contains(CRISIS_TOOL)
    }

    /// What the calls say, however many run into one another; what cannot be read ends it.
    fn told(&self) -> Map<String, Value> {
        let calls = serde_json::Deserializer::from_str(&self.arguments).into_iter();
        calls.map_while(Result::<Map<String, Value>, _>::ok).flatten().collect()
    }
}

impl Content {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Parts(parts) => parts.into_iter().filter_map(|part| part.text).collect(),
        }
    }
}

fn usage(value: &Value) -> Option<Usage> {
    let count = |name: &str| value.get(name)?.as_u64();
    let (prompt, completion) = (count("prompt_tokens")?, count("completion_tokens").unwrap_or(0));
    Some(Usage { prompt, completion, estimated: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(chunks: &[Value]) -> Result<Completion, Reason> {
        let mut completion = Completion::default();
        for chunk in chunks {
            completion.take(&chunk.to_string())?;
        }
        Ok(completion)
    }

    fn says(text: &str) -> Value {
        json!({ "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": null }] })
    }

    #[test]
    fn pieces_join_and_a_last_chunk_without_choices_brings_the_usage() {
        for choices in [json!([]), Value::Null] {
            let last = json!({ "choices": choices, "usage": { "prompt_tokens": 5, "completion_tokens": 2 } });
            let mut whole = take(&[says("Good "), says("day"), last]).unwrap();
            assert_eq!(whole.usage, Some(Usage { prompt: 5, completion: 2, estimated: false }));
            assert_eq!(whole.object("").unwrap()["response"], "Good day");
        }
        assert!(take(&[json!({ "usage": null })]).is_ok(), "choices may be absent");
    }

    #[test]
    fn an_error_in_the_middle_is_a_failure() {
        let failed = take(&[says("Good "), json!({ "error": { "message": "overloaded" } })]);
        assert_eq!(failed.err(), Some(Reason::Interrupted));
        assert_eq!(Completion::default().take("{\"choices\":"), Err(Reason::Malformed));
    }

    #[test]
    fn other_choices_null_contents_and_unknown_fields_say_nothing() {
        let other = json!({ "choices": [{ "index": 1, "delta": { "content": "no" } }], "x": 1 });
        let null = json!({ "choices": [{ "delta": { "role": "assistant", "content": null } }] });
        assert_eq!(take(&[other, null]).unwrap().object("").unwrap_err(), Reason::Empty);
    }

    #[test]
    fn a_crisis_told_in_pieces_is_joined_by_index() {
        let piece = |index: u32, name: &str, arguments: &str| {
            let function = json!({ "name": name, "arguments": arguments });
            json!({ "choices": [{ "delta": { "tool_calls": [{ "index": index, "function": function }] } }] })
        };
        let chunks = [
            piece(0, "report_crisis", "{\"severity\":"),
            piece(1, "other", "{}"),
            piece(0, "", "\"high\",\"signals\":[\"plan\"]}"),
        ];
        let object = take(&chunks).unwrap().object("You are not alone.").unwrap();
        let expected = json!({ "crisis_detected": true, "severity": "high",
            "detected_signals": ["plan"], "response": "You are not alone." });
        assert_eq!(Value::Object(object), expected);
    }

    /// A piece of a tool's call, whatever the server makes of its index.
    fn call(index: &Value, name: Value, arguments: Value) -> Value {
        let function = json!({ "name": name, "arguments": arguments });
        let piece = json!({ "index": index, "function": function });
        json!({ "choices": [{ "index": null, "delta": { "tool_calls": [piece] } }] })
    }

    #[test]
    fn a_crisis_is_heard_however_a_server_names_and_counts_its_calls() {
        let (zero, none) = (json!(0), Value::Null);
        let halves = ["{\"severity\":\"high\",", "\"signals\":[\"plan\"]}"];
        let whole = json!({ "severity": "high", "signals": ["plan"] });
        let name = json!("report_crisis");
        let said = [
            // The name again with every piece.
            vec![
                call(&zero, name.clone(), json!(halves[0])),
                call(&zero, name.clone(), json!(halves[1])),
            ],
            // No index at all, and the name in pieces.
            vec![
                call(&none, json!("report_"), json!(halves[0])),
                call(&none, json!("crisis"), json!(halves[1])),
            ],
            // Two calls under one index.
            vec![
                call(&zero, json!("other"), json!("{}")),
                call(&zero, name.clone(), json!(halves.concat())),
            ],
            // The same call twice, and arguments that are no text.
            vec![call(&none, name.clone(), whole.clone()), call(&none, name.clone(), whole)],
        ];
        for chunks in said {
            let object = take(&chunks).unwrap().object("Call.").unwrap();
            let told = (&object["crisis_detected"], &object["severity"]);
            assert_eq!(told, (&json!(true), &json!("high")), "{chunks:?}");
            assert_eq!(object["detected_signals"], json!(["plan"]), "{chunks:?}");
        }
    }

    #[test]
    fn what_a_model_says_of_a_crisis_is_brought_into_form() {
        let arguments = json!({ "severity": 3, "signals": [1, null, ["x"], "plan"] });
        let chunk = call(&json!(0), json!("report_crisis"), json!(arguments.to_string()));
        let object = take(&[chunk]).unwrap().object("Call.").unwrap();
        assert_eq!(object["crisis_detected"], true);
        assert_eq!(object.get("severity"), None);
        let signals = object["detected_signals"].as_array().unwrap();
        assert!(signals.iter().all(Value::is_string), "{signals:?}");
    }

    #[test]
    fn an_endless_answer_is_refused() {
        let mut completion = Completion::default();
        let chunk = says(&"x".repeat(10_000)).to_string();
        let refused = (0..10).find_map(|_| completion.take(&chunk).err());
        assert_eq!(refused, Some(Reason::TooLarge));
    }
}

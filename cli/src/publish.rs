//! `throughline publish`: one event, or many as lines of JSON, through ingest.

use std::io::Read as _;

use serde_json::{Value, json};

use crate::arguments::Target;
use crate::failure::Failure;
use crate::table::line;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    throughline publish metric.update '{\"type\":\"voice_call\",\"calls\":3}'\n  \
    throughline publish --lines < events.ndjson   (each line {\"type\":…,\"data\":…})")]
pub(crate) struct Arguments {
    /// Type of the event, or its wire name
    #[arg(required_unless_present = "lines")]
    event_type: Option<String>,
    /// Its data as JSON; `-` reads it from standard input
    #[arg(value_name = "DATA", default_value = "{}")]
    payload: String,
    /// Id of the event; publishing it again stores nothing
    #[arg(long)]
    id: Option<String>,
    /// Users who get it on their own channel besides
    #[arg(long, value_delimiter = ',')]
    audience: Vec<String>,
    /// Read events from standard input, one JSON object a line
    #[arg(long, conflicts_with = "event_type")]
    lines: bool,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    if !arguments.lines {
        let event = single(&arguments)?;
        let answer = arguments.target.ingest()?.post("/v1/events", &event).await?;
        return show(&answer, arguments.json);
    }
    let lines = lines(&standard_input()?)?;
    let client = arguments.target.ingest()?;
    // One by one: order is kept, and each answer says where its event is stored.
    for (at, line) in lines.iter().enumerate() {
        let answer = client.post("/v1/events", &line.event).await;
        let answer = answer.map_err(|failure| line.stopped(&failure, lines.len() - at - 1))?;
        show(&answer, arguments.json)?;
    }
    Ok(())
}

#[derive(Debug)]
struct Line {
    /// In the input, from 1 and with the empty ones.
    number: usize,
    event: Value,
}

impl Line {
    /// What a person needs to go on by hand.
    fn stopped(&self, failure: &Failure, left: usize) -> Failure {
        let id = self.event.get("id").and_then(Value::as_str);
        let id = id.map_or_else(String::new, |id| format!(" (id {id})"));
        let left = match left {
            0 => String::new(),
            1 => "\n1 line behind it was not sent".to_owned(),
            left => format!("\n{left} lines behind it were not sent"),
        };
        Failure::Failed(format!("line {}{id}: {failure}{left}", self.number))
    }
}

fn single(arguments: &Arguments) -> Result<Value, Failure> {
    let text = if arguments.payload == "-" { standard_input()? } else { arguments.payload.clone() };
    let data: Value = parsed(&text)?;
    let mut event = json!({ "type": arguments.event_type, "data": data });
    if let Some(id) = &arguments.id {
        event["id"] = json!(id);
    }
    if !arguments.audience.is_empty() {
        event["audience"] = json!(arguments.audience);
    }
    Ok(event)
}

/// The lines that hold something.
fn lines(text: &str) -> Result<Vec<Line>, Failure> {
    let numbered = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let read = |(index, line)| {
        let number = index + 1;
        let told = |error| Failure::Usage(not_json(number, &error));
        Ok(Line { number, event: serde_json::from_str(line).map_err(told)? })
    };
    numbered.map(read).collect()
}

/// To the parser every line is the first one.
fn not_json(number: usize, error: &serde_json::Error) -> String {
    let (text, column) = (error.to_string(), error.column());
    let reason = text.rsplit_once(" at line ").map_or(&*text, |(reason, _)| reason);
    format!("line {number} is not JSON: {reason} at column {column}; nothing was published")
}

fn parsed(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::Usage(format!("not JSON: {error}: {text}")))
}

fn standard_input() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| Failure::failed("standard input", error))?;
    Ok(text)
}

fn show(answer: &[u8], as_json: bool) -> Result<(), Failure> {
    let text = String::from_utf8_lossy(answer);
    if as_json {
        return line(&text);
    }
    let value: Value = serde_json::from_slice(answer).unwrap_or_default();
    for event in value.get("events").and_then(Value::as_array).into_iter().flatten() {
        let field =
            |key: &str| event.get(key).map(|it| it.to_string().trim_matches('"').to_owned());
        let again = if event.get("duplicate") == Some(&Value::Bool(true)) {
            " (was stored before)"
        } else {
            ""
        };
        line(&format!(
            "{} stored in {} as {}{again}",
            field("id").unwrap_or_default(),
            field("stream").unwrap_or_default(),
            field("sequence").unwrap_or_default(),
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "{\"type\":\"a\",\"id\":\"e-1\"}\n\n{\"type\":\"b\"}\n  \n{\"type\":\"c\"}\n";

    #[test]
    fn a_refusal_names_its_line_of_the_input_and_what_was_not_sent() {
        let lines = lines(TEXT).unwrap();
        let told = |at: usize| {
            let refused = Failure::Failed("refused".to_owned());
            lines[at].stopped(&refused, lines.len() - at - 1).to_string()
        };
        assert_eq!(told(0), "line 1 (id e-1): refused\n2 lines behind it were not sent");
        assert_eq!(told(1), "line 3: refused\n1 line behind it was not sent");
        assert_eq!(told(2), "line 5: refused");
    }

    #[test]
    fn what_is_not_json_names_its_line_of_the_input() {
        let told = lines(&format!("{TEXT}{{\"type\":\n")).unwrap_err().to_string();
        let expected =
            "line 6 is not JSON: EOF while parsing a value at column 8; nothing was published";
        assert_eq!(told, expected);
    }
}

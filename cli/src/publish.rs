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
    let events = if arguments.lines { lines()? } else { vec![single(&arguments)?] };
    let client = arguments.target.ingest()?;
    // One by one: order is kept, and each answer says where its event is stored.
    for event in events {
        let answer = client.post("/v1/events", &event).await?;
        show(&answer, arguments.json)?;
    }
    Ok(())
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

fn lines() -> Result<Vec<Value>, Failure> {
    standard_input()?.lines().filter(|line| !line.trim().is_empty()).map(parsed).collect()
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

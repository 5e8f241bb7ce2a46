//! `throughline history`: what a channel held, page by page, as lines of JSON.

use serde_json::Value;

use crate::arguments::Target;
use crate::client::Client;
use crate::failure::Failure;
use crate::table::line;

/// The largest page that the gateway gives.
const PAGE: usize = 1_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Channel to read
    #[arg(long, short)]
    channel: String,
    /// Behind this cursor, oldest first
    #[arg(long, conflicts_with_all = ["before", "at"])]
    after: Option<String>,
    /// Before this cursor, newest first
    #[arg(long, conflicts_with = "at")]
    before: Option<String>,
    /// From this moment (RFC 3339) or cursor on
    #[arg(long)]
    at: Option<String>,
    /// At most this many events; 0 for all
    #[arg(long, short = 'n', default_value_t = 100)]
    limit: usize,
    /// Only these types
    #[arg(long, value_delimiter = ',')]
    types: Vec<String>,
    #[command(flatten)]
    target: Target,
}

/// Where the next page begins.
enum From {
    Start,
    After(String),
    Before(String),
    At(String),
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let client = arguments.target.gateway()?;
    let mut from = match (&arguments.after, &arguments.before, &arguments.at) {
        (Some(after), ..) => From::After(after.clone()),
        (_, Some(before), _) => From::Before(before.clone()),
        (.., Some(at)) => From::At(at.clone()),
        _ => From::Start,
    };
    let mut left = if arguments.limit == 0 { usize::MAX } else { arguments.limit };
    while left > 0 {
        let page = page(&client, &arguments, &from, left.min(PAGE)).await?;
        let events = page.get("events").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for event in events {
            line(&event.to_string())?;
        }
        left = left.saturating_sub(events.len());
        let more = page.get("more") == Some(&Value::Bool(true));
        let cursor = page.get("cursor").and_then(Value::as_str);
        let Some(cursor) = cursor.filter(|_| more && !events.is_empty()) else { break };
        from = match from {
            From::Before(_) => From::Before(cursor.to_owned()),
            From::Start | From::After(_) | From::At(_) => From::After(cursor.to_owned()),
        };
    }
    Ok(())
}

async fn page(
    client: &Client,
    arguments: &Arguments,
    from: &From,
    limit: usize,
) -> Result<Value, Failure> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("channel", &arguments.channel).append_pair("limit", &limit.to_string());
    match from {
        From::Start => query.append_pair("after", "earliest"),
        From::After(cursor) => query.append_pair("after", cursor),
        From::Before(cursor) => query.append_pair("before", cursor),
        From::At(moment) => query.append_pair("at", moment),
    };
    if !arguments.types.is_empty() {
        query.append_pair("types", &arguments.types.join(","));
    }
    let body = client.get(&format!("/v1/history?{}", query.finish())).await?;
    serde_json::from_slice(&body).map_err(|error| Failure::failed("the page", error))
}

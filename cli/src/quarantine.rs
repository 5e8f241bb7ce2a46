//! `throughline quarantine`: what could not be understood, and another try once it can.

use domain::envelope::rfc3339;
use domain::replay::quarantine::ListAnswer;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::arguments::Target;
use crate::client::Client;
use crate::failure::Failure;
use crate::table::{aligned, line, write_out};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// What there is, oldest first
    List {
        /// At most this many
        #[arg(long, short = 'n', default_value_t = 50)]
        limit: usize,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// One item with its payload, as JSON
    Show { id: String },
    /// Send one item through the gate again
    Redrive { id: String },
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let client = arguments.target.gateway()?;
    match arguments.action {
        Action::List { limit, json } => list(&client, limit, json).await,
        Action::Show { id } => {
            let body = client.get(&format!("/v1/quarantine/{}", segment(&id))).await?;
            line(&String::from_utf8_lossy(&body))
        }
        Action::Redrive { id } => {
            let path = format!("/v1/quarantine/{}/redrive", segment(&id));
            let body = client.post(&path, &json!({})).await?;
            line(&String::from_utf8_lossy(&body))
        }
    }
}

/// An id as one segment of a path.
fn segment(id: &str) -> String {
    form_urlencoded::byte_serialize(id.as_bytes()).collect()
}

async fn list(client: &Client, limit: usize, as_json: bool) -> Result<(), Failure> {
    let body = client.get(&format!("/v1/quarantine?limit={limit}")).await?;
    if as_json {
        return line(&String::from_utf8_lossy(&body));
    }
    let answer: ListAnswer =
        serde_json::from_slice(&body).map_err(|error| Failure::failed("the list", error))?;
    if answer.items.is_empty() {
        return line("nothing is in quarantine");
    }
    let rows: Vec<[String; 5]> = answer
        .items
        .iter()
        .map(|item| {
            let state = if item.redriven_at.is_some() { "redriven" } else { "" };
            [
                item.id.clone(),
                moment(item.received_at),
                item.source.clone(),
                state.to_owned(),
                item.reason.clone(),
            ]
        })
        .collect();
    write_out(aligned(&rows).as_bytes())?;
    if answer.more { line("… and more; raise --limit") } else { Ok(()) }
}

fn moment(millis: i64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000)
        .map_or_else(|_| Value::from(millis).to_string(), rfc3339)
}

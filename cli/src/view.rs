//! `throughline view`: what a view is or was, and having it built anew.

use serde_json::Value;
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use crate::arguments::Target;
use crate::client::Client;
use crate::failure::Failure;
use crate::table::line;

mod rebuild;

const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
    /// View to read, such as active-calls, calls, sessions, conversations, alerts, notifications, campaigns,
    /// contacts, whatsapp-accounts, agents, metrics or deliveries
    #[arg(required = true)]
    view: Option<String>,
    /// One entry of it; without it a list
    key: Option<String>,
    /// As it was at this moment (RFC 3339) or cursor
    #[arg(long)]
    at: Option<String>,
    /// At most this many entries, or rows of one
    #[arg(long, short = 'n')]
    limit: Option<usize>,
    /// Entries behind the one with this key
    #[arg(long)]
    after: Option<String>,
    /// Only what happened since this day, where the view can tell (metrics)
    #[arg(long, value_name = "DAY", value_parser = day)]
    since: Option<String>,
    /// Print the whole answer with its cursor, instead of a line an entry
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// A day such as 2026-01-31, or a moment (RFC 3339) of it.
fn day(text: &str) -> Result<String, String> {
    if Date::parse(text, DAY).is_ok() || OffsetDateTime::parse(text, &Rfc3339).is_ok() {
        return Ok(text.to_owned());
    }
    Err("no day such as 2026-01-31".to_owned())
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Build a view anew from its baseline and the log, beside the live one, and swap
    Rebuild(rebuild::Arguments),
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    match &arguments.action {
        Some(Action::Rebuild(wish)) => rebuild::run(wish).await,
        None => show(&arguments.target.gateway()?, &arguments).await,
    }
}

async fn show(client: &Client, arguments: &Arguments) -> Result<(), Failure> {
    let body = client.get(&path(arguments)).await?;
    if arguments.json {
        return line(&String::from_utf8_lossy(&body));
    }
    let answer: Value =
        serde_json::from_slice(&body).map_err(|error| Failure::failed("the view", error))?;
    match &answer["value"] {
        Value::Array(entries) => {
            for entry in entries {
                line(&entry.to_string())?;
            }
            match answer["after"].as_str() {
                Some(after) => line(&format!("… and more; go on with --after {after}")),
                None => Ok(()),
            }
        }
        value => line(&value.to_string()),
    }
}

fn path(arguments: &Arguments) -> String {
    let mut path = format!("/v1/views/{}", segment(arguments.view.as_deref().unwrap_or_default()));
    if let Some(key) = &arguments.key {
        path.push('/');
        path.push_str(&segment(key));
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    let limit = arguments.limit.map(|limit| limit.to_string());
    let asked = [
        ("at", &arguments.at),
        ("limit", &limit),
        ("after", &arguments.after),
        ("startDate", &arguments.since),
    ];
    for (name, value) in asked {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    if query.is_empty() { path } else { format!("{path}?{query}") }
}

/// A key as one segment of a path, in which a plus is a plus.
fn segment(key: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let mut out = String::with_capacity(key.len());
    for byte in key.bytes() {
        if plain(byte) { out.push(char::from(byte)) } else { out.push_str(&format!("%{byte:02X}")) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::parsed;

    #[track_caller]
    fn check(given: &[&str], expected: &str) {
        assert_eq!(path(&parsed(given).unwrap()), expected);
    }

    #[test]
    fn what_is_asked_for_is_a_path() {
        check(&["active-calls"], "/v1/views/active-calls");
        check(&["calls", "CA1"], "/v1/views/calls/CA1");
        check(&["contacts", "+1 4/5"], "/v1/views/contacts/%2B1%204%2F5");
        check(
            &["calls", "-n", "5", "--at", "2026-01-02T03:04:05Z"],
            "/v1/views/calls?at=2026-01-02T03%3A04%3A05Z&limit=5",
        );
    }

    #[test]
    fn what_is_no_day_is_refused() {
        check(&["metrics", "--since", "2026-01-31"], "/v1/views/metrics?startDate=2026-01-31");
        for bad in ["2026-13-45", "2026-02-30", "yesterday", "20260131", "2026-W05-6", ""] {
            assert!(parsed::<Arguments>(&["metrics", "--since", bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_view_is_named_or_built_anew() {
        assert!(parsed::<Arguments>(&[]).is_err());
        let arguments: Arguments = parsed(&["rebuild", "calls"]).unwrap();
        assert!(matches!(arguments.action, Some(Action::Rebuild(_))));
    }
}

//! `throughline tail`: follows channels over SSE and goes on behind its last event after every cut.

use std::time::{Duration, Instant};

use http::{HeaderValue, Method};

use crate::arguments::Target;
use crate::client::{Client, Event, Events};
use crate::failure::Failure;
use crate::table::line;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a gateway may be on its way up before a first connection is given up.
const FIRST_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Channels to follow, for example: calls,call:CA42
    #[arg(value_delimiter = ',', required = true)]
    channels: Vec<String>,
    /// Start behind this cursor; `earliest` for all that is kept; without it, now
    #[arg(long)]
    after: Option<String>,
    /// End after this many events
    #[arg(long, short = 'n')]
    count: Option<u64>,
    /// Print cursors before the events, so that a later tail can go on from one
    #[arg(long)]
    cursors: bool,
    /// Print {cursor, event, data} as JSON lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let client = arguments.target.gateway()?;
    let mut tail = Tail { cursor: arguments.after.clone(), left: arguments.count, arguments };
    let (begun, mut connected, mut pause) = (Instant::now(), false, FIRST_PAUSE);
    loop {
        let longer = (pause * 2).min(LONGEST_PAUSE);
        let reason = match tail.follow(&client).await? {
            Ended::Counted => return Ok(()),
            Ended::Cut { some } => {
                connected = true;
                pause = if some { FIRST_PAUSE } else { longer };
                "connection lost".to_owned()
            }
            Ended::NotBegun(failure) if !connected && begun.elapsed() >= FIRST_WITHIN => {
                return Err(failure);
            }
            Ended::NotBegun(failure) => {
                pause = longer;
                failure.to_string()
            }
        };
        let place = tail.cursor.as_ref().map_or("from now", |_| "behind the last event");
        eprintln!("# {reason}; going on {place}");
        tokio::time::sleep(pause).await;
    }
}

enum Ended {
    /// As many events came as were asked for.
    Counted,
    /// The connection ended; `some`: after it had brought something.
    Cut { some: bool },
    /// There was none.
    NotBegun(Failure),
}

struct Tail {
    arguments: Arguments,
    cursor: Option<String>,
    left: Option<u64>,
}

impl Tail {
    async fn follow(&mut self, client: &Client) -> Result<Ended, Failure> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        // What a role is in besides was not asked for, and would be counted.
        query.append_pair("channels", &self.arguments.channels.join(",")).append_pair("only", "1");
        if self.cursor.as_deref() == Some("earliest") {
            query.append_pair("after", "earliest");
        }
        let mut request = client.request(Method::GET, &format!("/sse?{}", query.finish()), true);
        let cursor = self.cursor.as_deref().filter(|cursor| *cursor != "earliest");
        if let Some(cursor) = cursor {
            let value = HeaderValue::from_str(cursor)
                .map_err(|_| Failure::Usage("--after takes a cursor".to_owned()))?;
            request = request.header("last-event-id", value);
        }
        let answer = match client.open(request).await {
            Ok(Ok(answer)) => answer,
            // A gateway that drains or is overloaded is worth another try; a refusal is not.
            Ok(Err((status, failure))) if status.is_server_error() || status.as_u16() == 429 => {
                return Ok(Ended::NotBegun(failure));
            }
            Ok(Err((_, failure))) => return Err(failure),
            Err(error) => return Ok(Ended::NotBegun(client.unreachable(error))),
        };
        let mut events = Events::new(answer.into_body());
        let mut some = false;
        while let Some(event) = events.next().await {
            some = true;
            if self.take(event)? {
                return Ok(Ended::Counted);
            }
        }
        Ok(Ended::Cut { some })
    }

    /// Shows one event; `true` once as many came as were asked for.
    fn take(&mut self, event: Event) -> Result<bool, Failure> {
        // How things stand behind a gap is shown, and is no event.
        let is_event = match event.name.as_str() {
            "ready" | "ping" => false,
            "gap" => {
                eprintln!("# gap: {}", event.data);
                false
            }
            name => {
                self.show(&event)?;
                name != "snapshot"
            }
        };
        self.cursor = event.id.filter(|id| !id.is_empty()).or(self.cursor.take());
        if !is_event {
            return Ok(false);
        }
        self.left = self.left.map(|left| left.saturating_sub(1));
        Ok(self.left == Some(0))
    }

    fn show(&self, event: &Event) -> Result<(), Failure> {
        let cursor = event.id.as_deref().unwrap_or_default();
        if self.arguments.json {
            let data: serde_json::Value = serde_json::from_str(&event.data).unwrap_or_default();
            let whole = serde_json::json!({ "cursor": cursor, "event": event.name, "data": data });
            return line(&whole.to_string());
        }
        let cursor = if self.arguments.cursors { format!("{cursor} ") } else { String::new() };
        line(&format!("{cursor}{} {}", event.name, event.data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::parsed;

    #[test]
    fn how_things_stand_behind_a_gap_is_no_event() {
        let arguments = parsed::<Arguments>(&["calls", "-n", "1"]).unwrap();
        let mut tail = Tail { cursor: None, left: arguments.count, arguments };
        let mut is_last = |name: &str| {
            let (name, data) = (name.to_owned(), "{}".to_owned());
            tail.take(Event { id: Some("c-1".to_owned()), name, data }).unwrap()
        };
        assert_eq!(["ready", "gap", "snapshot"].map(&mut is_last), [false; 3]);
        assert!(is_last("call:update"));
    }
}

//! The log of the process: its format, its field names, and how an error is told once.
//! It must not know any service; fields of meaning are added where things happen.

use std::error::Error;
use std::fmt::Write as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{LOG_FORMAT, RUST_LOG, Reader};

/// Names of the fields that log lines are searched by, with their meaning. Units are part of the name.
pub const FIELDS: &[(&str, &str)] = &[
    ("event.id", "id of an event"),
    ("event.type", "type of an event"),
    ("entity.id", "entity that an event or a command is about"),
    ("revision", "stream sequence of an entity's last event"),
    ("stream", "name of a stream"),
    ("sequence", "sequence in that stream"),
    ("consumer", "name of a consumer"),
    ("correlation.id", "the journey an event belongs to"),
    ("client.id", "a connection, by the id minted for it"),
    ("tenant", "whose data it is"),
    ("request.id", "an HTTP request, by the id given in its answer"),
    ("peer", "address of the other side"),
    ("duration_ms", "how long it took"),
    ("error", "an error with all its causes"),
];

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    #[default]
    Text,
    Json,
}

#[derive(Clone, Debug)]
pub struct Settings {
    pub format: Format,
    pub filter: String,
}

impl Settings {
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let formats = [("text", Format::Text), ("json", Format::Json)];
        let format = reader.choice(&LOG_FORMAT, &formats).unwrap_or_default();
        let filter = reader.text(&RUST_LOG);
        if let Err(error) = EnvFilter::try_new(&filter) {
            reader.mistake(&RUST_LOG, format_args!("{filter:?} is not a log filter: {error}"));
        }
        Self { format, filter }
    }
}

/// Starts the log on standard error. Further calls change nothing, since several services share a process.
pub fn init(settings: &Settings) {
    let filter = EnvFilter::try_new(&settings.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    let fmt = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // A second subscriber is refused by tracing, which is what makes this idempotent.
    let _already_started = match settings.format {
        Format::Text => registry.with(fmt).try_init(),
        Format::Json => registry.with(fmt.json().flatten_event(true)).try_init(),
    };
}

/// An error with all its causes, for the one place that handles it.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _infallible = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the log is away")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_chain_tells_each_cause_once() {
        let error = Outer(std::io::Error::other("connection refused"));
        assert_eq!(chain(&error), "the log is away: connection refused");
    }

    #[test]
    fn starting_twice_is_harmless() {
        let settings = Settings { format: Format::Json, filter: "off".into() };
        init(&settings);
        init(&settings);
    }

    #[test]
    fn a_bad_filter_is_a_mistake() {
        let given = [("RUST_LOG", "info,=,=")];
        let mut reader = Reader::new(&given);
        Settings::read(&mut reader);
        assert!(reader.finish(()).unwrap_err().0[0].starts_with("RUST_LOG:"));
    }
}

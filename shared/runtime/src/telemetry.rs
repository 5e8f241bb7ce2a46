//! The log of the process: its format, its field names, and how an error is told once; and its spans, where a
//! collector takes them. It must not know any service; fields of meaning are added where things happen.

use std::error::Error;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::sync::{LazyLock, OnceLock};

use axum::http::Uri;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{LOG_FORMAT, OTEL_EXPORTER_OTLP_ENDPOINT, RUST_LOG, Reader};
use crate::metrics::metrics::counter::Counter;
use crate::tasks::{Owned, owned};

mod otlp;
mod spans;

pub use spans::TARGET;

/// Spans that no collector got; one for the process, whatever services share it.
pub(crate) static DROPPED: LazyLock<Counter> = LazyLock::new(Counter::default);
static EXPORT: OnceLock<Owned<()>> = OnceLock::new();

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
    /// Where a collector takes traces.
    pub traces: Option<Uri>,
}

impl Settings {
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let formats = [("text", Format::Text), ("json", Format::Json)];
        let format = reader.choice(&LOG_FORMAT, &formats).unwrap_or_default();
        let filter = reader.text(&RUST_LOG);
        if let Err(error) = EnvFilter::try_new(&filter) {
            reader.mistake(&RUST_LOG, format_args!("{filter:?} is not a log filter: {error}"));
        }
        let traces = reader.given(&OTEL_EXPORTER_OTLP_ENDPOINT).and_then(|base| {
            let address = otlp::address(&base);
            if address.is_none() {
                let text = "is not an http or https address, such as http://localhost:4318";
                reader.mistake(&OTEL_EXPORTER_OTLP_ENDPOINT, text);
            }
            address
        });
        Self { format, filter, traces }
    }
}

/// Starts the log on standard error, and the export of spans where one is asked for.
/// Further calls change nothing, since several services share a process.
pub fn init(settings: &Settings) {
    let registry = tracing_subscriber::registry();
    // A second subscriber is refused by tracing, which is what makes this idempotent.
    let Some(address) = &settings.traces else {
        let _already_started = registry.with(log_of(settings)).try_init();
        return;
    };
    let (closed, closing) = otlp::queue();
    let gatherer = spans::Gatherer { closed }.with_filter(filter_fn(spans::is_exported));
    if registry.with(log_of(settings)).with(gatherer).try_init().is_ok() {
        let export = otlp::export(closing, address.clone(), program());
        let _only_once = EXPORT.set(owned(export));
    }
}

fn log_of<S>(settings: &Settings) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let filter = EnvFilter::try_new(&settings.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    // Spans for the collector are no part of the log.
    let none = format!("{TARGET}=off").parse();
    let filter = none.into_iter().fold(filter, EnvFilter::add_directive);
    let fmt = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // Colours are for people; a file or a collector takes them for text.
    let fmt = if std::io::stderr().is_terminal() { fmt } else { fmt.with_ansi(false) };
    match settings.format {
        Format::Text => fmt.with_filter(filter).boxed(),
        Format::Json => fmt.json().flatten_event(true).with_filter(filter).boxed(),
    }
}

/// Whether anybody takes spans.
pub fn is_tracing() -> bool {
    tracing::span_enabled!(target: TARGET, tracing::Level::INFO)
}

/// How the collector calls this process.
fn program() -> String {
    let path = std::env::current_exe().ok();
    let name = path.as_deref().and_then(|path| path.file_stem()?.to_str());
    name.unwrap_or("throughline").to_owned()
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
        let settings = Settings { format: Format::Json, filter: "off".into(), traces: None };
        init(&settings);
        init(&settings);
    }

    #[test]
    fn a_collector_is_named_by_its_base_address() {
        let given = [("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4317")];
        let mut reader = Reader::new(&given);
        assert_eq!(Settings::read(&mut reader).traces, None);
        let told = reader.finish(()).unwrap_err().0;
        assert!(told[0].starts_with("OTEL_EXPORTER_OTLP_ENDPOINT:"), "{told:?}");
    }

    #[test]
    fn a_bad_filter_is_a_mistake() {
        let given = [("RUST_LOG", "info,=,=")];
        let mut reader = Reader::new(&given);
        Settings::read(&mut reader);
        assert!(reader.finish(()).unwrap_err().0[0].starts_with("RUST_LOG:"));
    }
}

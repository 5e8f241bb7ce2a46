//! Spans of requests, messages and connections, gathered while they are open and handed on when they close.
//! It knows what a span is, not where it goes. A field never holds a secret, a payload or somebody's words.

use std::fmt::Debug;

use tokio::sync::mpsc::Sender;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::DROPPED;
use crate::{clock, ids};

/// The target of spans that are exported. Nothing else has it, and the log shows none of them.
pub const TARGET: &str = "otel";
/// The field that a span's name comes from, where it is not the same for all of its kind.
const NAME: &str = "otel.name";
/// The field with the W3C context of who asked.
const PARENT: &str = "traceparent";

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    Flag(bool),
}

pub(super) struct Span {
    pub trace: [u8; 16],
    pub id: [u8; 8],
    pub parent: Option<[u8; 8]>,
    pub name: String,
    /// Nanoseconds since the Unix epoch.
    pub began: i128,
    pub ended: i128,
    pub fields: Vec<(&'static str, Value)>,
}

impl Span {
    fn child_of(parent: Option<([u8; 16], [u8; 8])>, name: &str) -> Self {
        Self {
            trace: parent.map_or_else(ids::random_bytes, |(trace, _)| trace),
            id: ids::random_bytes(),
            parent: parent.map(|(_, id)| id),
            name: name.to_owned(),
            began: clock::now().unix_timestamp_nanos(),
            ended: 0,
            fields: Vec::new(),
        }
    }

    fn take(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            (NAME, Value::Text(name)) => self.name = name,
            (PARENT, Value::Text(context)) => {
                if let Some((trace, parent)) = context_of(&context) {
                    (self.trace, self.parent) = (trace, Some(parent));
                }
            }
            (name, value) => self.fields.push((name, value)),
        }
    }
}

impl Visit for Span {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.take(field, Value::Text(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, Value::Text(value.to_owned()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.take(field, Value::Number(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.take(field, Value::Number(value.try_into().unwrap_or(i64::MAX)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.take(field, Value::Flag(value));
    }
}

/// The trace and the span in a `traceparent` (W3C Trace Context, version 00).
fn context_of(text: &str) -> Option<([u8; 16], [u8; 8])> {
    let mut parts = text.split('-');
    let (version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
    let trace = u128::from_str_radix(trace, 16).ok().filter(|it| trace.len() == 32 && *it != 0)?;
    let span = u64::from_str_radix(span, 16).ok().filter(|it| span.len() == 16 && *it != 0)?;
    (version == "00").then(|| (trace.to_be_bytes(), span.to_be_bytes()))
}

/// Which spans are gathered.
pub(super) fn is_exported(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target() == TARGET && *metadata.level() <= Level::INFO
}

pub(super) struct Gatherer {
    pub(super) closed: Sender<Span>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Gatherer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let parent = span.parent().and_then(|parent| {
            let extensions = parent.extensions();
            extensions.get::<Span>().map(|parent| (parent.trace, parent.id))
        });
        let mut open = Span::child_of(parent, span.name());
        attributes.record(&mut open);
        span.extensions_mut().insert(open);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<Span>() {
            values.record(open);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(mut closed) = span.extensions_mut().remove::<Span>() else { return };
        closed.ended = clock::now().unix_timestamp_nanos();
        if self.closed.try_send(closed).is_err() {
            DROPPED.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_taken_over_only_as_the_standard_writes_it() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let (trace, span) = context_of(good).unwrap();
        assert_eq!((trace[0], span[7]), (0x4b, 0xb7));
        for bad in [
            "",
            "00",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f-00f067aa0ba902b7-01",
            "00-zbf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(context_of(bad), None, "{bad}");
        }
    }
}

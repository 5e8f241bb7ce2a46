//! What the log holds, as the folds and the gate take it. Pure.

use domain::aggregate::RecordedEvent;
use domain::envelope::{Envelope, Unreadable};
use runtime::LogMessage;
use time::OffsetDateTime;

/// A stored time.
pub(crate) fn at(unix_millis: i64) -> OffsetDateTime {
    let nanos = i128::from(unix_millis) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// The envelope of a stored event.
pub(crate) fn envelope(message: &LogMessage) -> Result<Envelope, Unreadable> {
    Envelope::from_message(&message.subject, &message.headers, message.payload.clone())
}

/// A stored event as it is folded.
pub(crate) fn recorded(message: &LogMessage) -> Result<RecordedEvent, Unreadable> {
    Ok(RecordedEvent::new(envelope(message)?, message.sequence, at(message.stored_at)))
}

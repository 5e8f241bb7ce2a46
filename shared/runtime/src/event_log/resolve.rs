//! Finds out whether an append with an expectation is stored after all.
//!
//! A repeated append of one's own comes back as a conflict, so neither a conflict nor silence tells; the stream's
//! leader does: what is looked for carries the message id and stands behind the expected revision.

use std::time::Duration;

use domain::StreamId;
use tracing::debug;

use super::outgoing::Wanted;
use super::{AppendError, Appended, Expect};
use crate::log_reader::LogReader;
use crate::nats::names::MESSAGE_ID;

/// With three replicas an unguarded append may slip in front of a guarded one; more than a few would be odd.
const LOOK_AT: usize = 16;
const WITHIN: Duration = Duration::from_millis(1000);

/// The log said that something else came first, which may have been an earlier copy.
pub(super) async fn conflict(
    reader: &LogReader,
    wanted: Wanted<'_>,
    stream: &str,
    copies: u32,
) -> Result<Appended, AppendError> {
    let Some(expect) = wanted.expect else { return Err(AppendError::Conflict) };
    match find(reader, stream, expect, wanted.message_id).await {
        Ok(Some(sequence)) => {
            Ok(Appended { stream: stream.to_owned(), sequence, duplicate: copies == 1 })
        }
        Ok(None) => Err(AppendError::Conflict),
        Err(error) => {
            debug!(%error, "a conflict could not be told from one's own success");
            Err(AppendError::Unknown)
        }
    }
}

/// The log did not answer in time.
pub(super) async fn unknown(
    reader: &LogReader,
    wanted: Wanted<'_>,
) -> Result<Appended, AppendError> {
    let (Some(expect), Some(stream)) = (wanted.expect, stream_of(wanted.subject)) else {
        return Err(AppendError::Unknown);
    };
    match find(reader, &stream, expect, wanted.message_id).await {
        Ok(Some(sequence)) => Ok(Appended { stream, sequence, duplicate: false }),
        // Not found is not the end of it: the copy may still be on its way.
        Ok(None) | Err(_) => Err(AppendError::Unknown),
    }
}

async fn find(
    reader: &LogReader,
    stream: &str,
    expect: &Expect,
    message_id: &str,
) -> Result<Option<u64>, crate::log_reader::ReadError> {
    let reader = reader.with_deadline(WITHIN);
    let mut from = expect.sequence + 1;
    for _ in 0..LOOK_AT {
        match reader.next_from_leader(stream, from, &expect.guard).await? {
            Some(found) if found.headers.get(MESSAGE_ID) == Some(message_id) => {
                return Ok(Some(found.sequence));
            }
            Some(other) => from = other.sequence + 1,
            None => return Ok(None),
        }
    }
    Ok(None)
}

/// Commands of crises have a stream of their own, which no others can fill.
fn stream_of_commands(category: &str) -> &'static str {
    match StreamId::of_category(category) {
        Some(StreamId::Crisis) => "CRISIS_COMMANDS",
        Some(_) | None => "COMMANDS",
    }
}

fn stream_of(subject: &str) -> Option<String> {
    let mut tokens = subject.split('.');
    match (tokens.next()?, tokens.next()?) {
        ("events", _) => StreamId::of_category(tokens.next()?).map(|id| id.name().to_owned()),
        ("$KV", bucket) => Some(format!("KV_{bucket}")),
        ("commands", _) => Some(stream_of_commands(tokens.next()?).to_owned()),
        ("timers", _) => Some("TIMERS".to_owned()),
        ("quarantine", _) => Some("QUARANTINE".to_owned()),
        ("publish", _) => Some("INBOX".to_owned()),
        _ => None,
    }
}

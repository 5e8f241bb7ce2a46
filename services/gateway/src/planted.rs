//! Bugs planted on purpose: the end-to-end tests see by them that the delivery checker catches what it must.
//! Compiled under a feature of the tests alone, and idle there unless one is named.

use domain::StreamId;
use domain::cursor::Cursor;
use domain::position::StreamPosition;
use runtime::config::{Environment, Strings as _};

/// Moves the position a client comes back with by one event.
pub(crate) fn shift(mut cursor: Cursor) -> Cursor {
    let at = cursor.position.get(StreamId::Calls);
    let sequence = match Environment.get("PLANTED_BUG").as_deref() {
        Some("resume_skips_one") => at.sequence + 1,
        Some("resume_resends_one") => at.sequence.saturating_sub(1),
        _ => return cursor,
    };
    cursor.position.set(StreamId::Calls, StreamPosition { sequence, fingerprint: 0, ..at });
    cursor
}

//! Stored messages as folds see them.

use domain::envelope::header;
use domain::views::Event;
use domain::{Tenant, subject};
use runtime::log_message::LogMessage;

use super::folded::Folded;

/// The event of a message; `None` for one that is none, which has a place in its stream all the same.
pub(super) fn event(message: &LogMessage) -> Option<Event<'_>> {
    let text = |name| message.headers.get(name);
    Some(Event {
        kind: text(header::TYPE)?,
        id: text(header::ID)?,
        sequence: message.sequence,
        time: text(header::TIME)?,
        channels: text(header::CHANNELS).unwrap_or_default(),
        data: &message.payload,
    })
}

/// Folds messages that follow each other in the stream.
pub(super) fn fold_all(folded: &mut Folded, messages: &[LogMessage]) {
    // Neighbours are mostly of one tenant.
    let mut last: Option<Tenant> = None;
    for message in messages {
        let name = message.subject.split('.').nth(1).unwrap_or_default();
        if last.as_ref().is_none_or(|tenant| tenant.as_str() != name) {
            last = subject::tenant_of(&message.subject).ok();
        }
        let event = last.as_ref().zip(event(message));
        folded.fold(message.sequence, message.stored_at, event);
    }
}

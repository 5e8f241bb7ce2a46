//! A stored quarantined message as an operator sees it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::replay::quarantine::{Item, ShowAnswer, header};
use domain::subject;
use runtime::log_message::LogMessage;

/// What the server adds to a message that is read by sequence.
const ADDED: [&str; 4] = ["Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp"];

pub(super) fn item(message: &LogMessage, redriven_at: Option<i64>) -> Item {
    let told = |name| message.headers.get(name).unwrap_or_default().to_owned();
    Item {
        id: message.sequence.to_string(),
        origin: subject::origin_of(&message.subject).unwrap_or_default().to_owned(),
        place: told(header::PLACE),
        reason: told(header::REASON),
        source: told(header::SOURCE),
        received_at: message.stored_at,
        size: message.payload.len(),
        redriven_at,
    }
}

pub(super) fn shown(message: &LogMessage, redriven_at: Option<i64>) -> ShowAnswer {
    let headers = message.headers.iter().filter(|(name, _)| !ADDED.contains(name));
    let text = std::str::from_utf8(&message.payload).ok();
    ShowAnswer {
        item: item(message, redriven_at),
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        payload: text.map(str::to_owned),
        payload_base64: text.is_none().then(|| STANDARD.encode(&message.payload)),
    }
}

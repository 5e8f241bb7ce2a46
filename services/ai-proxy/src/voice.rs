//! Speech: pieces of sound come as requests, become text and messages in the order they were said, and answers
//! are spoken where the AI service can.
//!
//! `intake` accepts or refuses a piece, `lane` processes a conversation's pieces one after the other, `speaker` sends
//! sound, `keeper` removes what was kept,
//! `lost` tells of what died with its process. Sound is in no stored event. What the text means is none of their business: it goes the way of every message.

mod intake;
pub(crate) mod keeper;
mod lane;
pub(crate) mod lost;
mod places;
mod sentences;
mod speaker;

pub(crate) use intake::{Voice, run};
pub(crate) use speaker::Speaker;

/// What the ids of pieces of speech begin with, and so those of the messages they become.
const PREFIX: &str = "voice-";

/// Whether a message was spoken, so that its answer is spoken too.
pub(crate) fn is_spoken(message: &str) -> bool {
    message.starts_with(PREFIX)
}

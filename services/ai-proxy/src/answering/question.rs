//! A message with what the AI needs to answer it, read from the log.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::StreamId;
use domain::envelope::header;
use domain::protection::ERASED;
use domain::token::Tenant;
use runtime::LogMessage;
use runtime::log_reader::ReadError;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::fold::{Conversation, Open};
use super::keys::Keys;
use super::record::{RecordError, Recorder};
use crate::prompts::Prompt;
use crate::providers::{Question, Speaker, Turn};

/// What a stored message or answer says, and about which conversation.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    conversation_id: String,
    #[serde(default)]
    user_id: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    response: String,
}

/// A question, the id of the event that asks it, and the keys that opened all of it.
pub(crate) struct Asked {
    pub question: Question,
    pub event_id: Option<String>,
    pub keys: Keys,
}

pub(crate) enum Read {
    Asked(Box<Asked>),
    /// Nothing is left of what it said.
    Erased,
    /// The log holds it no more, or it cannot be understood.
    Gone,
}

/// Reads the message and as much before it as the window holds.
pub(crate) async fn read(
    recorder: &Recorder,
    tenant: &Tenant,
    conversation: &Conversation,
    message: &Open,
    prompt: &Prompt,
) -> Result<Read, Unread> {
    let before = conversation.turns.iter().copied().filter(|turn| *turn < message.sequence);
    let mut sequences: Vec<u64> = before.collect();
    let surplus = sequences.len().saturating_sub(prompt.history.history_turns);
    sequences.drain(..surplus);
    // Answers to earlier messages may stand behind a message that was said meanwhile.
    let later = |turn: &u64| *turn > message.sequence && !conversation.is_open(*turn);
    sequences.extend(conversation.turns.iter().copied().filter(later));
    sequences.push(message.sequence);
    let reader = recorder.nats().log_reader();
    let mut found = reader.get_many(StreamId::Conversations.name(), &sequences).await?;
    let mut keys = recorder.keys();
    for message in found.iter_mut().flatten() {
        message.payload = recorder.opened(tenant, &message.payload, &mut keys).await?;
    }
    let Some(asking) = found.pop().flatten() else { return Ok(Read::Gone) };
    let Some(said) = said(&asking).filter(|said| !said.message.is_empty()) else {
        return Ok(Read::Gone);
    };
    if said.message == ERASED {
        return Ok(Read::Erased);
    }
    let history = window(found.iter().flatten(), prompt.history.history_characters);
    let place = message.sequence.to_string();
    let idempotency_key = digest([tenant.as_str(), &said.conversation_id, &message.id, &place]);
    let question = Question {
        conversation: said.conversation_id,
        user: said.user_id,
        message: message.id.clone(),
        // Given with every attempt.
        request_id: String::new(),
        idempotency_key,
        text: said.message,
        system: prompt.system.clone(),
        history,
        crisis_text: prompt.crisis.clone(),
    };
    let event_id = asking.headers.get(header::ID).map(str::to_owned);
    Ok(Read::Asked(Box::new(Asked { question, event_id, keys })))
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Unread {
    #[error(transparent)]
    Log(#[from] ReadError),
    #[error(transparent)]
    Keys(#[from] RecordError),
}

/// What was erased was not said.
fn is_there(text: &str) -> bool {
    !text.is_empty() && text != ERASED
}

fn said(message: &LogMessage) -> Option<Said> {
    serde_json::from_slice(&message.payload).ok()
}

/// What names a message to a service that is asked for it repeatedly. Clients choose ids, so a message's own may be
/// another person's too; a hash tells the service nothing about tenants or places.
fn digest<const N: usize>(parts: [&str; N]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        // Its length before each, so that no two lists of parts are the same bytes.
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    URL_SAFE_NO_PAD.encode(&digest.finalize()[..18])
}

/// The newest turns that fit, the oldest first.
fn window<'a>(
    messages: impl DoubleEndedIterator<Item = &'a LogMessage>,
    characters: usize,
) -> Vec<Turn> {
    let mut left = characters;
    let mut turns = Vec::new();
    for message in messages.rev() {
        let Some(said) = said(message) else { continue };
        let is_user = message.headers.get(header::TYPE) == Some("conversation.message");
        let (speaker, text) =
            if is_user { (Speaker::User, said.message) } else { (Speaker::Ai, said.response) };
        if text.len() > left {
            break;
        }
        left -= text.len();
        if is_there(&text) {
            turns.push(Turn { speaker, text });
        }
    }
    turns.reverse();
    turns
}

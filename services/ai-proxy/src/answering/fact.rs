//! What the AI side reads of a stored event: enough to know what is unanswered and who is at it, and no text.

use domain::envelope::header;
use domain::token::{EntityToken, Tenant};
use domain::{EntityToken as Entity, Subject};
use runtime::LogMessage;
use serde::Deserialize;

/// The category whose events guard who answers.
const GUARDED: &str = "ai";

/// Whose conversation it is and which one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct Key {
    pub tenant: Tenant,
    pub entity: Entity,
}

impl Key {
    pub(crate) fn new(tenant: &Tenant, entity: &EntityToken) -> Self {
        Self { tenant: tenant.clone(), entity: entity.clone() }
    }
}

/// A stored event of a conversation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stored {
    pub sequence: u64,
    /// Unix milliseconds, by the log's clock.
    pub at: i64,
    /// Whether it stands under the guard of those who answer.
    pub guarded: bool,
    pub fact: Fact,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Fact {
    Started,
    Message {
        id: String,
    },
    Attempt {
        message: String,
        number: u32,
        failures: u32,
        holder: String,
        lease_ms: i64,
    },
    Extended {
        message: String,
        number: u32,
        holder: String,
        lease_ms: i64,
    },
    Answered {
        message: String,
    },
    Failed {
        message: String,
    },
    Used {
        tokens: u64,
        attempt: Option<Attempted>,
    },
    /// A piece of speech is being processed.
    Received {
        chunk: String,
        lease_ms: i64,
    },
    /// It has become text, or has failed to.
    Heard {
        chunk: String,
    },
    Other,
}

/// How an attempt ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Attempted {
    pub message: String,
    pub number: u32,
    pub outcome: String,
}

/// The fields that matter, of whichever event; texts are passed over without a copy.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Fields {
    message_id: Option<String>,
    chunk_id: Option<String>,
    attempt: u32,
    failures: u32,
    holder: String,
    lease_ms: i64,
    prompt_tokens: u64,
    completion_tokens: u64,
    outcome: String,
}

/// `None` for what is about no conversation or cannot be read.
pub(crate) fn read(message: &LogMessage) -> Option<(Key, Stored)> {
    let subject = Subject::parse(&message.subject).ok()?;
    let address = subject.address();
    let key = Key::new(address.tenant(), address.entity());
    let guarded = address.category().as_str() == GUARDED;
    let fact = fact(message).unwrap_or(Fact::Other);
    Some((key, Stored { sequence: message.sequence, at: message.stored_at, guarded, fact }))
}

fn fact(message: &LogMessage) -> Option<Fact> {
    let kind = message.headers.get(header::TYPE)?;
    if kind == "conversation.started" {
        return Some(Fact::Started);
    }
    let known =
        kind == "conversation.message" || ["ai.", "voice."].iter().any(|it| kind.starts_with(it));
    if !known {
        return None;
    }
    let fields: Fields = serde_json::from_slice(&message.payload).ok()?;
    let id = fields.message_id;
    Some(match kind {
        "conversation.message" => Fact::Message { id: id? },
        "ai.attempt" => Fact::Attempt {
            message: id?,
            number: fields.attempt,
            failures: fields.failures,
            holder: fields.holder,
            lease_ms: fields.lease_ms,
        },
        "ai.attempt.extended" => Fact::Extended {
            message: id?,
            number: fields.attempt,
            holder: fields.holder,
            lease_ms: fields.lease_ms,
        },
        "ai.response" => Fact::Answered { message: id? },
        "ai.failed" => match (id, fields.chunk_id) {
            (Some(message), _) => Fact::Failed { message },
            (None, chunk) => Fact::Heard { chunk: chunk? },
        },
        "voice.received" => Fact::Received { chunk: fields.chunk_id?, lease_ms: fields.lease_ms },
        "voice.transcription" => Fact::Heard { chunk: fields.chunk_id? },
        "ai.usage" => Fact::Used {
            tokens: fields.prompt_tokens.saturating_add(fields.completion_tokens),
            attempt: id.map(|message| {
                let (number, outcome) = (fields.attempt, fields.outcome);
                Attempted { message, number, outcome }
            }),
        },
        _ => return None,
    })
}

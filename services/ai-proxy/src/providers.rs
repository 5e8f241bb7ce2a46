//! The AI services behind one interface: a question becomes pieces of text and an answer, speech becomes text and back.
//! It must not know the log, conversations' order, or who listens.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

mod endpoint;
mod ezri;
mod openai;
mod scripted;
mod tidy;
mod unreachable;

pub use endpoint::{Deadlines, Endpoint};
pub use ezri::Ezri;
pub use openai::{Models, OpenAi};
pub use scripted::Scripted;
pub(crate) use unreachable::Unreachable;

/// The longest answer, in bytes. The catalogue bounds texts to 65,536 characters, sealed as they are stored.
pub const MAX_ANSWER: usize = 40_000;

/// Who said something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Speaker {
    User,
    Ai,
}

/// Something that was said before. No `Debug`: what people say is in no log.
#[derive(Clone, PartialEq, Eq)]
pub struct Turn {
    pub speaker: Speaker,
    pub text: String,
}

/// One message with what the AI needs to answer it.
#[derive(Clone)]
pub struct Question {
    pub conversation: String,
    pub user: String,
    pub message: String,
    /// Of one attempt.
    pub request_id: String,
    /// The same for every attempt at this message, and no other message's, whoever wrote it and where.
    pub idempotency_key: String,
    pub text: String,
    pub system: String,
    /// The oldest first.
    pub history: Vec<Turn>,
    /// What to say when the AI reports a crisis and says nothing else.
    pub crisis_text: String,
}

/// Tokens, as the provider counts them or as they were estimated from the texts' lengths.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Usage {
    pub prompt: u64,
    pub completion: u64,
    pub estimated: bool,
}

/// A whole answer.
pub struct Answer {
    /// What the user gets, in the shape that application 001 reads.
    pub object: Map<String, Value>,
    pub text: String,
    pub model: Option<String>,
    pub usage: Usage,
}

/// A piece of speech as it came from a client.
#[derive(Clone)]
pub struct Speech {
    pub conversation: String,
    /// Unguessable, so no other piece's anywhere.
    pub chunk: String,
    /// Of one attempt.
    pub request_id: String,
    pub sound: Bytes,
}

/// What was said, and the answer as sound where the service gives both at once.
pub struct Heard {
    pub text: String,
    pub reply: Option<Sound>,
}

#[derive(Clone)]
pub struct Sound {
    pub content_type: String,
    pub data: Bytes,
}

/// Why there is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reason {
    Unreachable,
    /// No first word, or no whole answer, in time.
    Timeout,
    /// A pause in the middle was too long.
    Stalled,
    /// It went on for too long as a whole.
    Overlong,
    RateLimited,
    Unavailable,
    Refused,
    Redirected,
    /// The stream said itself that it failed.
    Interrupted,
    /// The stream ended without its end mark.
    Truncated,
    Malformed,
    TooLarge,
    Empty,
    CircuitOpen,
    BudgetExhausted,
    Unsupported,
    /// Too many attempts ended without a word, as when their processes died.
    Abandoned,
    /// What was asked was erased.
    Erased,
}

impl Reason {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Stalled => "stalled",
            Self::Overlong => "overlong",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::Refused => "refused",
            Self::Redirected => "redirected",
            Self::Interrupted => "interrupted",
            Self::Truncated => "truncated",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Empty => "empty",
            Self::CircuitOpen => "circuit_open",
            Self::BudgetExhausted => "budget_exhausted",
            Self::Unsupported => "unsupported",
            Self::Abandoned => "abandoned",
            Self::Erased => "erased",
        }
    }

    /// Whether the service has not begun with the question, so that it cost nothing.
    pub const fn is_unasked(self) -> bool {
        matches!(
            self,
            Self::Unreachable
                | Self::RateLimited
                | Self::Refused
                | Self::Redirected
                | Self::CircuitOpen
                | Self::BudgetExhausted
                | Self::Abandoned
        )
    }

    /// Whether the same question may be answered a moment later.
    pub const fn is_passing(self) -> bool {
        match self {
            Self::Unreachable
            | Self::Timeout
            | Self::Stalled
            | Self::RateLimited
            | Self::Unavailable
            | Self::Interrupted
            | Self::Truncated
            | Self::Malformed
            | Self::Empty => true,
            Self::Overlong
            | Self::Refused
            | Self::Redirected
            | Self::TooLarge
            | Self::CircuitOpen
            | Self::BudgetExhausted
            | Self::Unsupported
            | Self::Abandoned
            | Self::Erased => false,
        }
    }

    /// Whether it says that the service as a whole is unwell, which the circuit breaker counts.
    pub const fn is_outage(self) -> bool {
        matches!(
            self,
            Self::Unreachable
                | Self::Timeout
                | Self::Stalled
                | Self::Unavailable
                | Self::Interrupted
                | Self::Truncated
                | Self::Malformed
        )
    }
}

/// A failed attempt.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the AI service gave no answer: {}", reason.name())]
pub struct Failure {
    pub reason: Reason,
    /// How long the service asks to be left alone.
    pub retry_after: Option<Duration>,
    /// What it had reported before it failed: another attempt may be told nothing of it.
    pub crisis: Option<Box<Crisis>>,
}

/// What a service reports of a person in danger, named as in an answer's object.
#[derive(Clone, PartialEq, Eq)]
pub struct Crisis(pub Map<String, Value>);

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Self { reason, retry_after: None, crisis: None }
    }
}

impl Failure {
    /// With what an object that is no answer reports.
    pub(crate) fn with_crisis_of(self, object: Map<String, Value>) -> Self {
        let crisis = Crisis::reported_by(&object).then(|| Box::new(Crisis(object)));
        Self { crisis, ..self }
    }
}

impl Crisis {
    /// Whether an object reports one.
    pub(crate) fn reported_by(object: &Map<String, Value>) -> bool {
        object.get("crisis_detected") == Some(&Value::Bool(true))
    }
}

impl fmt::Debug for Crisis {
    /// What was found is about a person, and in no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Crisis")
    }
}

impl Sound {
    /// With more behind it, for formats whose pieces may follow one another.
    pub(crate) fn joined(&self, more: &Self) -> Self {
        let data = [&self.data[..], &more.data[..]].concat().into();
        Self { content_type: self.content_type.clone(), data }
    }
}

pub type Promise<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'a>>;

/// Where the pieces of an answer go. Bounded: a listener that does not take them holds the provider back.
pub type Pieces = mpsc::Sender<String>;

pub trait Provider: Send + Sync {
    fn name(&self) -> &'static str;

    /// Pieces as they come, then the whole. A service that does not stream sends no pieces.
    fn answer<'a>(&'a self, question: &'a Question, pieces: &'a Pieces) -> Promise<'a, Answer>;

    fn hear<'a>(&'a self, speech: &'a Speech) -> Promise<'a, Heard>;

    /// `None` where the service does not speak by itself.
    fn speak<'a>(&'a self, text: &'a str) -> Promise<'a, Option<Sound>>;
}

/// A token is about four characters, where the service does not count.
pub(crate) fn estimate(question: &Question, answer: &str) -> Usage {
    let said: usize = question.history.iter().map(|turn| turn.text.len()).sum();
    let prompt = said + question.system.len() + question.text.len();
    let tokens = |bytes: usize| u64::try_from(bytes.div_ceil(4)).unwrap_or(u64::MAX);
    Usage { prompt: tokens(prompt), completion: tokens(answer.len()), estimated: true }
}

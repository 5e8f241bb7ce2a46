//! Commands on their way to whoever decides them: authorised and valid, stored, and answered with the decision.
//!
//! Nothing is decided here. What is stored is decided for certain, once, whatever becomes of the caller or of this
//! process; what is not stored is refused in clear words. It knows no wire.

use std::sync::Arc;
use std::time::Duration;

use domain::catalogue::{CommandRefusal, CommandType, Wish};
use domain::protection::subjects_in;
use domain::{Command, Identity};
use runtime::event_log::{Append, AppendError};
use runtime::telemetry::TARGET;
use runtime::{clock, ids};
use serde_json::Value;
use tokio::time::timeout;
use tracing::{Instrument as _, debug, info_span};

use crate::edge::{Refused, Shared, UNAVAILABLE};

mod answer;
pub(crate) mod desk;
pub(crate) mod http;
mod repeats;
mod replies;

pub(crate) use answer::Answer;
pub(crate) use repeats::Repeats;
pub(crate) use replies::Replies;
use replies::Waiting;

/// How long the log may take to store a command, and how long it may take to say whether it has.
const STORE_WITHIN: Duration = Duration::from_secs(3);
const KNOW_WITHIN: Duration = Duration::from_secs(2);
/// The field of a client's argument that makes repeats of its command one; answers have it too.
pub(crate) const COMMAND_ID: &str = "commandId";

pub(crate) const UNKNOWN_COMMAND: Refused = Refused::new(
    "unknown_type",
    "No command of this type is in the catalogue; see docs/EVENTS.md.",
);
const NOT_ALLOWED: Refused = Refused::new(
    "not_allowed",
    "Your token may not send this command; ask for one whose role or `publish` claim allows it.",
);
const NO_CONVERSATION: Refused = Refused::new(
    "no_conversation",
    "No conversation is open on this connection; start one, or name it by conversationId.",
);
const BAD_ID: Refused = Refused::new(
    "bad_id",
    "An id of your own has 1 to 128 bytes, no control characters and no white space at its ends.",
);
const BUSY: Refused = Refused::new(
    "unavailable",
    "Too many commands wait for their decision; try again in a moment.",
);
const TOO_LARGE: Refused =
    Refused::new("too_large", "The message is longer than allowed; send less at once.");

const COPIED: Refused =
    Refused::new("invalid_data", "The data holds a sealed text of the platform's.");

/// A caller's wish as a command, or the answer that it cannot be one.
pub(crate) fn prepare(
    kind: &CommandType,
    identity: &Identity,
    asked: Asked<'_>,
) -> Result<Command, Answer> {
    let Asked { mut argument, id, connection, conversation } = asked;
    // An id that stands in the argument is about the command, not a part of it.
    let own = argument.as_mut().and_then(Value::as_object_mut).and_then(|o| o.remove(COMMAND_ID));
    let own = match own {
        Some(Value::String(id)) => Some(id),
        Some(_) => return Err(BAD_ID.into()),
        None => None,
    };
    let id = id.or(own);
    let fallback = ids::ordered();
    let now = clock::now();
    let wish = Wish { argument, id, fallback, connection, conversation, now };
    kind.command(identity, wish).map_err(|refusal| match refusal {
        CommandRefusal::NotAllowed => NOT_ALLOWED.into(),
        CommandRefusal::NoConversation => NO_CONVERSATION.into(),
        CommandRefusal::BadId => BAD_ID.into(),
        CommandRefusal::Invalid(violation) => Answer::invalid(&violation),
    })
}

/// What a caller brings.
#[derive(Default)]
pub(crate) struct Asked<'a> {
    pub(crate) argument: Option<Value>,
    /// Its own id for what it wants done.
    pub(crate) id: Option<String>,
    pub(crate) connection: Option<&'a str>,
    /// The latest conversation that is open on its connection.
    pub(crate) conversation: Option<&'a str>,
}

/// Stores a command and waits a while for its decision.
pub(crate) async fn decide(edge: &Shared, command: Command) -> Answer {
    let span = info_span!(target: TARGET, "command", "command.type" = &*command.kind);
    stored_and_decided(edge, command).instrument(span).await
}

async fn stored_and_decided(edge: &Shared, mut command: Command) -> Answer {
    if holds_copied(&command) {
        return Answer::from(COPIED).of(&command.id);
    }
    let wish = edge.repeats.wish(&command);
    if let Some(waiting) = edge.repeats.find(&wish) {
        let decision = decision(edge, &command, &waiting).await;
        return decision.unwrap_or_else(|| Answer::pending(&command.id));
    }
    if let Err(refused) = seal(edge, &mut command).await {
        return Answer::from(refused).of(&command.id);
    }
    let Some(waiting) = edge.replies.wait() else { return Answer::from(BUSY).of(&command.id) };
    command.reply = Some(waiting.subject().to_owned());
    let Ok(subject) = command.subject() else { return Answer::from(BAD_ID).of(&command.id) };
    let append = Append {
        subject,
        // Every attempt is a message of its own: what makes two of them one is the command's id, for whoever decides.
        message_id: format!("{}:command:{}", command.tenant, ids::ordered()),
        headers: command.headers(),
        payload: command.payload(),
        expect: None,
    };
    if let Err(refused) = store(edge, append).await {
        return Answer::from(refused).of(&command.id);
    }
    let decision = decision(edge, &command, &waiting).await;
    decision.unwrap_or_else(|| {
        edge.repeats.remember(wish, Arc::new(waiting));
        Answer::pending(&command.id)
    })
}

/// `None` when it does not come in time.
async fn decision(edge: &Shared, command: &Command, waiting: &Waiting) -> Option<Answer> {
    let reply = timeout(edge.limits.decision, waiting.reply()).await.ok()??;
    // Where it cannot be opened it is decided all the same, and what was decided comes as an event too.
    let reply = edge.opened(&command.tenant, &reply).await.ok()?;
    Some(Answer::decided(&reply, &command.id))
}

/// Nobody outside has a key: what looks sealed was copied from somewhere, and would be opened for who reads it here.
fn holds_copied(command: &Command) -> bool {
    subjects_in(&command.payload(), &command.tenant).next().is_some()
}

/// What is personal enters no stream in the clear.
async fn seal(edge: &Shared, command: &mut Command) -> Result<(), Refused> {
    let Some((protection, subject)) = edge.catalogue.protected(command) else { return Ok(()) };
    let sealed = edge.vault.seal(&mut command.data, protection, &subject).await;
    sealed.map_err(|error| {
        debug!(error = %runtime::telemetry::chain(&error), kind = command.kind, "a command");
        crate::edge::UNAVAILABLE
    })
}

/// Stored for certain, or refused: whether it is stored after all makes no difference to who sends it again.
async fn store(edge: &Shared, append: Append) -> Result<(), Refused> {
    let log = edge.nats.event_log().with_deadline(STORE_WITHIN);
    match timeout(STORE_WITHIN + KNOW_WITHIN, log.append(append)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(AppendError::TooLarge)) => Err(TOO_LARGE),
        Ok(Err(error)) => {
            debug!(error = %runtime::telemetry::chain(&error), "a command");
            Err(UNAVAILABLE)
        }
        Err(_) => Err(UNAVAILABLE),
    }
}

//! Speech on its way to the AI side: handed over chunk by chunk, answered when it is taken, stored by nobody here.
//! Chunks of one conversation go one after the other; what comes faster than they are taken is refused.

use std::time::Duration;

use bytes::Bytes;
use domain::command::command_header;
use domain::envelope::header;
use domain::{EntityToken, Identity, Role, owned_id, subject};
use futures_util::FutureExt as _;
use runtime::requests::RequestError;
use tracing::debug;

use crate::commands::Answer;
use crate::commands::desk::To;
use crate::edge::{Edge, Refused, Shared};
use crate::member::Member;

/// What clients call a chunk; it may be longer than other messages.
pub(crate) const NAME: &str = "voice:data";
/// The most bytes of a chunk.
const LONGEST: usize = 1_000_000;
/// A message that is somewhat longer is read to its end, so that it can be refused in words.
pub(crate) const LONGEST_FRAME: usize = LONGEST + 64 * 1024;
/// How long the AI side may take to take a chunk.
const TAKE_WITHIN: Duration = Duration::from_secs(6);
/// What an application is told that listens for failures only.
pub(crate) const FAILURE: &str = "Voice processing failed";

pub(crate) const NOT_BINARY: Refused =
    Refused::new("bad_payload", "A chunk of voice is binary: a Blob, an ArrayBuffer or a Buffer.");
const EMPTY: Refused = Refused::new("bad_payload", "A chunk of voice holds at least one byte.");
const TOO_LARGE: Refused = Refused::new(
    "chunk_too_large",
    "A chunk of voice has at most 1000000 bytes; send smaller ones.",
);
const NO_CONVERSATION: Refused = Refused::new(
    "no_conversation",
    "No conversation is open on this connection; start one before you speak.",
);
const FORBIDDEN: Refused =
    Refused::new("forbidden", "You may not speak in this conversation; start one of your own.");
const NOBODY: Refused = Refused::new(
    "voice_unavailable",
    "Nobody takes speech right now; send the chunk again in a moment, or write instead.",
);

/// Takes a chunk for the conversation named, or for the latest that is open; `Some` is its answer already.
pub(crate) fn hand_over(
    edge: &Edge,
    member: &mut Member,
    conversation: Option<String>,
    chunk: Bytes,
    to: To,
) -> Option<Answer> {
    if chunk.len() > LONGEST {
        return Some(TOO_LARGE.into());
    }
    if chunk.is_empty() {
        return Some(EMPTY.into());
    }
    let identity = member.identity.clone();
    let conversation = match conversation {
        Some(named) if may_speak(&identity, &named) => named,
        Some(_) => return Some(FORBIDDEN.into()),
        None => match member.latest_conversation() {
            Some(latest) => latest,
            None => return Some(NO_CONVERSATION.into()),
        },
    };
    let about = format!("voice/{conversation}");
    let (edge, connection) = (edge.clone(), member.client_id.clone());
    let work = async move {
        let handing = hand(&edge, &identity, &connection, &conversation, chunk);
        handing.await.unwrap_or_else(Answer::from)
    };
    member.piece(about, to, FAILURE, work.boxed())
}

fn may_speak(identity: &Identity, conversation: &str) -> bool {
    identity.role == Role::Admin
        || owned_id::belongs_to(conversation, &identity.tenant, &identity.user)
}

async fn hand(
    edge: &Shared,
    identity: &Identity,
    connection: &str,
    conversation: &str,
    chunk: Bytes,
) -> Result<Answer, Refused> {
    let entity = EntityToken::from_external(conversation);
    let subject = subject::voice_request(&identity.tenant, &entity);
    let headers = [
        (command_header::ACTOR, identity.user.to_string()),
        (command_header::CONNECTION, connection.to_owned()),
        (header::SUBJECT, conversation.to_owned()),
    ];
    let answer = edge.nats.request_with(&subject, &headers, chunk, TAKE_WITHIN).await;
    match answer {
        Ok(answer) => Ok(Answer::read(&answer).unwrap_or_else(|| NOBODY.into())),
        Err(RequestError::TooLarge) => Err(TOO_LARGE),
        Err(error) => {
            debug!(%error, "a chunk of voice");
            Err(NOBODY)
        }
    }
}

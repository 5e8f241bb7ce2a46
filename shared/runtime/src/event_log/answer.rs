//! What the server says to an append.

use std::borrow::Cow;

use async_nats::Message;
use serde::Deserialize;

use super::{AppendError, Reason};
use crate::nats::names::{
    DUPLICATE_IN_PROCESS, STATUS_NO_RESPONDERS, STORE_FAILED, WRONG_LAST_SEQUENCE,
};

const TEMPORARILY_UNAVAILABLE: u32 = 10008;
const TOO_MANY_REQUESTS: u16 = 429;
const RESOURCES_EXCEEDED: [u32; 3] = [10002, 10023, 10047];
const MESSAGE_TOO_LARGE: [u32; 2] = [10054, 10097];

#[derive(Debug)]
pub(super) enum Answer {
    Stored {
        stream: String,
        sequence: u64,
        duplicate: bool,
    },
    Refused(Refusal),
    /// Not stored, and may well be in a moment: no leader, or too many requests.
    TurnedAway,
    /// An earlier copy is still being stored.
    InProcess,
}

#[derive(Debug)]
pub(super) enum Refusal {
    Conflict { stream: String },
    TooLarge,
    Full,
    Other { code: u32, description: String },
}

#[derive(Deserialize)]
struct PubAck<'a> {
    #[serde(borrow, default)]
    stream: Cow<'a, str>,
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    duplicate: bool,
    #[serde(borrow)]
    error: Option<ApiError<'a>>,
}

#[derive(Deserialize)]
struct ApiError<'a> {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    err_code: u32,
    #[serde(borrow, default)]
    description: Cow<'a, str>,
}

impl Answer {
    pub(super) fn read(message: &Message) -> Self {
        if message.status.is_some_and(|status| status.as_u16() == STATUS_NO_RESPONDERS) {
            return Self::TurnedAway;
        }
        match serde_json::from_slice::<PubAck<'_>>(&message.payload) {
            Ok(PubAck { error: Some(error), stream, .. }) => refused(&error, &stream),
            Ok(ack) => Self::Stored {
                stream: ack.stream.into_owned(),
                sequence: ack.seq,
                duplicate: ack.duplicate,
            },
            Err(_) => Self::Refused(Refusal::Other {
                code: 0,
                description: "the acknowledgement is not understood".to_owned(),
            }),
        }
    }
}

fn refused(error: &ApiError<'_>, stream: &str) -> Answer {
    match error.err_code {
        code if WRONG_LAST_SEQUENCE.contains(&code) => {
            Answer::Refused(Refusal::Conflict { stream: stream.to_owned() })
        }
        DUPLICATE_IN_PROCESS => Answer::InProcess,
        TEMPORARILY_UNAVAILABLE => Answer::TurnedAway,
        _ if error.code == TOO_MANY_REQUESTS => Answer::TurnedAway,
        STORE_FAILED if error.description.contains("exceeded") => Answer::Refused(Refusal::Full),
        code if RESOURCES_EXCEEDED.contains(&code) => Answer::Refused(Refusal::Full),
        code if MESSAGE_TOO_LARGE.contains(&code) => Answer::Refused(Refusal::TooLarge),
        code => Answer::Refused(Refusal::Other {
            code,
            description: error.description.clone().into_owned(),
        }),
    }
}

impl From<Refusal> for AppendError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Conflict { .. } => Self::Conflict,
            Refusal::TooLarge => Self::TooLarge,
            Refusal::Full => Self::Full,
            Refusal::Other { code, description } => {
                Self::Unavailable(Reason::Server { code, description })
            }
        }
    }
}

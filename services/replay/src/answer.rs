//! What every answer has in common: read the question, answer or refuse in JSON.

use std::borrow::Cow;

use bytes::Bytes;
use domain::replay::{Answer, refusal};
use domain::{Tenant, subject};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why a question is not answered; the code is for programs, the message for people.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: Cow<'static, str>,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }

    pub(crate) fn not_ready() -> Self {
        Self::new(refusal::NOT_READY, "the index has not caught up with the log yet; ask again")
    }
}

/// The tenant that the subject names and the question's content.
pub(crate) fn read<T: DeserializeOwned>(
    asked: &str,
    payload: &[u8],
) -> Result<(Tenant, T), Refusal> {
    let tenant = subject::tenant_of_request(asked)
        .map_err(|_| Refusal::new(refusal::BAD_REQUEST, "the subject names no tenant"))?;
    let question = serde_json::from_slice(payload)
        .map_err(|error| Refusal::new(refusal::BAD_REQUEST, format!("not understood: {error}")))?;
    Ok((tenant, question))
}

pub(crate) fn write<T: Serialize>(result: Result<T, Refusal>) -> Bytes {
    let answer = match result {
        Ok(answer) => Answer::Ok(answer),
        Err(Refusal { code, message }) => Answer::Refused { code: code.into_owned(), message },
    };
    // Our own plain structs always serialise; an empty answer would be refused by whoever asked.
    serde_json::to_vec(&answer).unwrap_or_default().into()
}

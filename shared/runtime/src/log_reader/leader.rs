//! Reads from the stream's leader: the only read that sees everything acknowledged before it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use tokio::time::Instant;

use super::{LogReader, ReadError, get_by_sequence};
use crate::log_message::{LogMessage, unix_millis};
use crate::nats::Headers;
use crate::nats::names::NO_MESSAGE_FOUND;

#[derive(Deserialize)]
struct Answer {
    message: Option<Stored>,
    error: Option<ApiError>,
}

#[derive(Deserialize)]
pub(super) struct ApiError {
    #[serde(default)]
    pub(super) err_code: u32,
    #[serde(default)]
    pub(super) description: String,
}

impl From<ApiError> for ReadError {
    fn from(error: ApiError) -> Self {
        Self::Refused { code: error.err_code, description: error.description }
    }
}

#[derive(Deserialize)]
struct Stored {
    subject: String,
    seq: u64,
    time: String,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
}

impl LogReader {
    pub async fn get_from_leader(
        &self,
        stream: &str,
        sequence: u64,
    ) -> Result<Option<LogMessage>, ReadError> {
        let deadline = Instant::now() + self.deadline;
        self.ask_leader(stream, get_by_sequence(sequence), deadline).await
    }

    /// The first message at or after a sequence whose subject matches the filter.
    pub async fn next_from_leader(
        &self,
        stream: &str,
        from_sequence: u64,
        filter: &str,
    ) -> Result<Option<LogMessage>, ReadError> {
        let deadline = Instant::now() + self.deadline;
        let request = serde_json::json!({ "seq": from_sequence.max(1), "next_by_subj": filter });
        self.ask_leader(stream, request.to_string().into(), deadline).await
    }

    /// The last message of a subject as the leader has it, for compare-and-set.
    pub async fn last_of_subject_from_leader(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Option<LogMessage>, ReadError> {
        let deadline = Instant::now() + self.deadline;
        let request = serde_json::json!({ "last_by_subj": subject });
        self.ask_leader(stream, request.to_string().into(), deadline).await
    }

    pub(super) async fn ask_leader(
        &self,
        stream: &str,
        request: Bytes,
        deadline: Instant,
    ) -> Result<Option<LogMessage>, ReadError> {
        let subject = format!("$JS.API.STREAM.MSG.GET.{stream}");
        let message = self.ask(&subject, request, deadline).await?;
        let answer: Answer =
            serde_json::from_slice(&message.payload).map_err(|_| ReadError::Malformed)?;
        match answer {
            Answer { error: Some(error), .. } if error.err_code == NO_MESSAGE_FOUND => Ok(None),
            Answer { error: Some(error), .. } => Err(error.into()),
            Answer { message: Some(stored), .. } => stored.decode().map(Some),
            Answer { .. } => Err(ReadError::Malformed),
        }
    }
}

impl Stored {
    fn decode(self) -> Result<LogMessage, ReadError> {
        let bytes = |text: &str| STANDARD.decode(text).map_err(|_| ReadError::Malformed);
        Ok(LogMessage {
            subject: self.subject.into(),
            sequence: self.seq,
            stored_at: unix_millis(&self.time).ok_or(ReadError::Malformed)?,
            headers: Headers::of_block(bytes(&self.hdrs)?.into()),
            payload: bytes(&self.data)?.into(),
        })
    }
}

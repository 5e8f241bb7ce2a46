//! What a stream holds, and which life of the stream it is.

use std::collections::HashMap;

use bytes::Bytes;
use serde::Deserialize;
use tokio::time::Instant;

use super::leader::ApiError;
use super::{LogReader, ReadError};
use crate::nats::names::EPOCH;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamState {
    /// Sequence of the oldest message; `last_sequence + 1` of an emptied stream.
    pub first_sequence: u64,
    pub last_sequence: u64,
    pub messages: u64,
    pub bytes: u64,
    /// Set by the provisioner when the stream was created; 0 for a stream made by someone else.
    pub epoch: u32,
}

#[derive(Deserialize)]
struct Answer {
    config: Option<Config>,
    state: Option<State>,
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    metadata: HashMap<String, String>,
}

#[derive(Deserialize)]
struct State {
    messages: u64,
    bytes: u64,
    first_seq: u64,
    last_seq: u64,
}

impl LogReader {
    pub async fn stream_info(&self, stream: &str) -> Result<StreamState, ReadError> {
        let deadline = Instant::now() + self.deadline;
        let subject = format!("$JS.API.STREAM.INFO.{stream}");
        let message = self.ask(&subject, Bytes::new(), deadline).await?;
        let answer: Answer =
            serde_json::from_slice(&message.payload).map_err(|_| ReadError::Malformed)?;
        match answer {
            Answer { error: Some(error), .. } => Err(error.into()),
            Answer { config: Some(config), state: Some(state), .. } => Ok(StreamState {
                first_sequence: state.first_seq,
                last_sequence: state.last_seq,
                messages: state.messages,
                bytes: state.bytes,
                epoch: config.metadata.get(EPOCH).and_then(|e| e.parse().ok()).unwrap_or(0),
            }),
            Answer { .. } => Err(ReadError::Malformed),
        }
    }

    /// Whether the stream has this durable. The user needs the right to ask (`$JS.API.CONSUMER.INFO.…`).
    pub async fn has_durable(&self, stream: &str, durable: &str) -> Result<bool, ReadError> {
        let deadline = Instant::now() + self.deadline;
        let subject = format!("$JS.API.CONSUMER.INFO.{stream}.{durable}");
        let message = self.ask(&subject, Bytes::new(), deadline).await?;
        let answer: Answer =
            serde_json::from_slice(&message.payload).map_err(|_| ReadError::Malformed)?;
        Ok(answer.error.is_none())
    }
}

//! Makes the ephemeral consumer behind a follower.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

use super::FollowOptions;
use crate::log_reader::{LogReader, ReadError};

const CREATE_WITHIN: Duration = Duration::from_secs(5);
/// The server removes a consumer that nobody pulls from for this long.
const INACTIVE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Deliver {
    All,
    LastPerSubject,
    From(u64),
    Since(OffsetDateTime),
}

#[derive(Deserialize)]
struct Answer {
    /// What the consumer has to deliver at first.
    #[serde(default)]
    num_pending: u64,
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct ApiError {
    #[serde(default)]
    err_code: u32,
    #[serde(default)]
    description: String,
}

/// Creates it under a name of its own; returns the name and how much it has to deliver.
pub(super) async fn create(
    reader: &LogReader,
    service: &str,
    stream: &str,
    deliver: Deliver,
    options: &FollowOptions,
) -> Result<(String, u64), ReadError> {
    // Unnamed consumers need a right of their own, which the permissions do not give.
    let name = format!("{service}-{:08x}", u32::from_be_bytes(crate::ids::random_bytes()));
    let mut config = json!({
        "name": name,
        "ack_policy": "none",
        "replay_policy": "instant",
        "mem_storage": true,
        "num_replicas": 1,
        "inactive_threshold": u64::try_from(INACTIVE.as_nanos()).unwrap_or(u64::MAX),
        "headers_only": options.headers_only,
    });
    deliver.write(&mut config);
    let mut subject = format!("$JS.API.CONSUMER.CREATE.{stream}.{name}");
    if let Some(filter) = &options.filter {
        config["filter_subject"] = json!(filter);
        subject = format!("{subject}.{filter}");
    }
    let request = json!({ "stream_name": stream, "config": config, "action": "create" });
    let deadline = Instant::now() + CREATE_WITHIN;
    let message = reader.ask(&subject, request.to_string().into(), deadline).await?;
    let answer: Answer =
        serde_json::from_slice(&message.payload).map_err(|_| ReadError::Malformed)?;
    match answer.error {
        None => Ok((name, answer.num_pending)),
        Some(error) => {
            Err(ReadError::Refused { code: error.err_code, description: error.description })
        }
    }
}

impl Deliver {
    fn write(self, config: &mut Value) {
        let policy = match self {
            Self::All => "all",
            Self::LastPerSubject => "last_per_subject",
            Self::From(sequence) => {
                config["opt_start_seq"] = json!(sequence);
                "by_start_sequence"
            }
            Self::Since(time) => {
                config["opt_start_time"] = json!(time.format(&Rfc3339).unwrap_or_default());
                "by_start_time"
            }
        };
        config["deliver_policy"] = json!(policy);
    }
}

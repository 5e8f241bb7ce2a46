//! Messages that the server itself stores when their time has come: clocks that no process has to live for.
//!
//! A schedule and what becomes of it are messages of one stream. One whose time has passed already fires at once, and
//! setting the same one again sets no second; still its reader must bear to see it twice.

use std::time::Duration;

use bytes::Bytes;
use domain::envelope::rfc3339;
use serde::Deserialize;
use time::OffsetDateTime;

use crate::event_log::{Append, AppendError, EventLog};
use crate::nats::Nats;
use crate::requests::RequestError;

const SCHEDULE: &str = "Nats-Schedule";
const TARGET: &str = "Nats-Schedule-Target";
const CLEAR_WITHIN: Duration = Duration::from_secs(2);

/// A handle that is cheap to clone.
#[derive(Clone)]
pub struct Schedules {
    nats: Nats,
    log: EventLog,
}

#[derive(Clone, Debug)]
pub struct Schedule {
    /// Where it waits; one at a time on each subject.
    pub subject: String,
    /// Where it appears.
    pub target: String,
    pub at: OffsetDateTime,
    pub message_id: String,
    pub payload: Bytes,
}

#[derive(Debug, thiserror::Error)]
pub enum ClearError {
    #[error("the server could not be asked")]
    Request(#[source] RequestError),
    #[error("the server refused")]
    Refused,
}

#[derive(Deserialize)]
struct Cleared {
    #[serde(default)]
    success: bool,
}

impl Schedules {
    pub fn new(nats: &Nats) -> Self {
        Self { nats: nats.clone(), log: nats.event_log() }
    }

    /// Returns once it is stored: from then on nothing but the server is needed for it to fire.
    pub async fn set(&self, schedule: Schedule) -> Result<(), AppendError> {
        let headers =
            vec![(SCHEDULE, format!("@at {}", rfc3339(schedule.at))), (TARGET, schedule.target)];
        let append = Append {
            subject: schedule.subject,
            message_id: schedule.message_id,
            headers,
            payload: schedule.payload,
            expect: None,
        };
        self.log.append(append).await.map(drop)
    }

    /// Removes what has fired on a subject, once it has been dealt with.
    pub async fn clear(&self, stream: &str, target: &str) -> Result<(), ClearError> {
        let subject = format!("$JS.API.STREAM.PURGE.{stream}");
        let asked = serde_json::json!({ "filter": target }).to_string();
        let answer = self.nats.request(&subject, asked.into(), CLEAR_WITHIN).await;
        let answer = answer.map_err(ClearError::Request)?;
        let cleared: Cleared = serde_json::from_slice(&answer).map_err(|_| ClearError::Refused)?;
        if cleared.success { Ok(()) } else { Err(ClearError::Refused) }
    }
}

//! The questions that the read side answers over `replay.request.<tenant>.<question>`, as JSON.

pub mod quarantine;
pub mod view;

use serde::{Deserialize, Serialize};

use crate::stream;

/// Per stream, in the order of [`crate::StreamId::ALL`].
pub type Sequences = [u64; stream::COUNT];

/// `refs`: where a tenant's events of some channels stand in the log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RefsRequest {
    pub channels: Vec<ChannelRange>,
    /// Nothing beyond these sequences.
    pub upto: Sequences,
    pub limit: usize,
    /// From the newest backwards instead of from the oldest forwards.
    #[serde(default)]
    pub newest_first: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ChannelRange {
    pub channel: String,
    /// Only what comes after these sequences.
    pub after: Sequences,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RefsAnswer {
    /// Merged by stored time (then stream and sequence); in the log's order within one stream. Each event once.
    pub refs: Vec<EventRef>,
    /// Whether there is more before `upto`.
    pub more: bool,
    /// Channels that had events behind their `after` which retention has removed: those cannot be given any more.
    /// Where events were removed before any node indexed them, every channel may have lost some and is named.
    pub removed: Vec<RemovedChannel>,
    /// How far the answering node has indexed; beyond it nothing is known.
    pub head: Sequences,
    /// The oldest sequences that are still stored.
    pub first: Sequences,
}

/// One event's place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EventRef {
    /// Index of the stream in [`crate::StreamId::ALL`].
    #[serde(rename = "s")]
    pub stream: u8,
    #[serde(rename = "q")]
    pub sequence: u64,
    /// Stored time in Unix milliseconds.
    #[serde(rename = "t")]
    pub stored_at: i64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RemovedChannel {
    pub channel: String,
    /// Highest sequence of the channel's events that retention has removed.
    pub highest: Sequences,
}

/// `at`: the position that the log had at a moment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AtRequest {
    /// Unix milliseconds.
    pub at: i64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AtAnswer {
    /// The last sequences stored at or before that moment.
    pub sequences: Sequences,
}

/// The names of the questions, the last token of their subjects.
pub mod question {
    pub const REFS: &str = "refs";
    pub const AT: &str = "at";
    pub const VIEW: &str = "view";
    pub const CONTACT_BY_PHONE: &str = "contact-by-phone";
    pub const VIEW_REBUILD: &str = "view-rebuild";
    pub const VIEW_PROGRESS: &str = "view-progress";
    pub const QUARANTINE_LIST: &str = "quarantine-list";
    pub const QUARANTINE_SHOW: &str = "quarantine-show";
    pub const QUARANTINE_REDRIVE: &str = "quarantine-redrive";
}

/// The codes of refusals.
pub mod refusal {
    /// The index has not caught up yet; another node may have.
    pub const NOT_READY: &str = "not_ready";
    pub const BAD_REQUEST: &str = "bad_request";
    pub const TOO_MANY_CHANNELS: &str = "too_many_channels";
    pub const NOT_FOUND: &str = "not_found";
    /// The moment asked about is before what is kept.
    pub const EXPIRED: &str = "expired";
    /// The log, or who should have answered, could not be reached in time.
    pub const UNAVAILABLE: &str = "unavailable";
}

/// Every answer: what was asked, or why not.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer<T> {
    Ok(T),
    Refused { code: String, message: String },
}

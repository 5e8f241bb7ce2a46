//! Questions about views: what an entry or a list is now, or was at a position of the log.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::Sequences;

/// The most entries of a page, or rows of an entry.
pub const MOST: usize = 1_000;

/// `view`: one entry, or a page of all of them, newest first.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ViewRequest {
    pub view: String,
    /// One entry; without it a page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// As of these sequences; without it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Sequences>,
    /// Now is at least here: whoever has been given these events sees them in the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<Sequences>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// The page behind the one that ended with this entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Only what happened since this day (`2026-01-02`), where the view can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ViewAnswer {
    /// One entry's object (null where there is none), or a list of objects.
    pub value: Box<RawValue>,
    /// Of a list: the entry to go on behind, where there are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Of a list: how many entries there are in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<usize>,
    /// How far the streams that the view is made of have been folded into the value: what comes behind is not in it,
    /// and nothing else is missing. Of other streams there is nothing in it.
    pub places: Vec<ViewPlace>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ViewPlace {
    /// Index of the stream in [`crate::StreamId::ALL`].
    #[serde(rename = "s")]
    pub stream: u8,
    /// The stream's epoch; 0 where it is not known.
    #[serde(rename = "e")]
    pub epoch: u32,
    #[serde(rename = "q")]
    pub sequence: u64,
    /// When the event at `sequence` was stored, in Unix milliseconds; 0 where that is not known.
    #[serde(rename = "t")]
    pub stored_at: i64,
}

/// `view-rebuild`: has a view built anew from its baseline and the log. Every node builds its own; who answers first
/// is asked for its progress.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RebuildRequest {
    pub view: String,
}

/// `view-progress`: asked of one node, which alone answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProgressRequest {
    pub node: String,
    pub job: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildState {
    #[default]
    Waiting,
    Building,
    Done,
    Failed,
}

/// How far a view has been built anew.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    pub node: String,
    pub job: usize,
    pub state: BuildState,
    /// Events folded, of how many.
    pub done: u64,
    pub total: u64,
    /// Once done: whether what was built was what had been live, byte for byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same: Option<bool>,
    /// Once done: the place in the stream that `digest` is of, and the hash of all rows.
    #[serde(default)]
    pub sequence: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// `contact-by-phone`: the contact whose number ends with the same ten digits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ContactRequest {
    pub phone: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ContactAnswer {
    /// The newest one; null where there is none.
    pub contact: Box<RawValue>,
}

impl ContactAnswer {
    /// The contact's name as the view has it, which is sealed where the tenant has names sealed.
    pub fn name(&self) -> Option<String> {
        let contact: Value = serde_json::from_str(self.contact.get()).ok()?;
        Some(contact.get("name")?.as_str()?.to_owned())
    }
}

//! What could not be understood, as operators see it, and the way back into the log.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Headers that whoever quarantines a message adds to the message's own.
pub mod header {
    /// Why it could not be understood, for the operator. Holds no payload.
    pub const REASON: &str = "tl-reason";
    /// The path or the subject it came to.
    pub const PLACE: &str = "tl-origin";
    /// Who sent it: a webhook source, a publisher.
    pub const SOURCE: &str = "tl-source";
}

/// `quarantine-list`: oldest first.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ListRequest {
    pub limit: usize,
    /// Only what comes after the item with this id.
    #[serde(default)]
    pub after: Option<String>,
    /// Only what came from there: the last token of the item's subject.
    #[serde(default)]
    pub origin: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ListAnswer {
    pub items: Vec<Item>,
    pub more: bool,
}

/// One quarantined message without its content.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    pub id: String,
    /// The last token of its subject.
    pub origin: String,
    /// The path or the subject it came to.
    #[serde(default)]
    pub place: String,
    pub reason: String,
    pub source: String,
    /// Unix milliseconds.
    pub received_at: i64,
    /// Bytes of its payload.
    pub size: usize,
    /// When it was given to the write side once more and accepted; Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redriven_at: Option<i64>,
}

/// `quarantine-show` and `quarantine-redrive`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ItemRequest {
    pub id: String,
}

/// The answer to `quarantine-show`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShowAnswer {
    pub item: Item,
    pub headers: Vec<(String, String)>,
    /// The payload where it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// Else the payload in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_base64: Option<String>,
}

/// The answer to `quarantine-redrive`: what the write side said, as it said it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RedriveAnswer {
    pub result: Value,
}

//! How much danger a person may be in.

use serde::{Deserialize, Serialize};

/// The least first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Low,
    Moderate,
    High,
    Imminent,
}

impl Severity {
    pub const ALL: [Self; 4] = [Self::Low, Self::Moderate, Self::High, Self::Imminent];

    /// As somebody reports it. A word that nobody knows counts as the worst.
    pub fn of(word: &str) -> Self {
        let word = word.trim();
        let known =
            Self::ALL.into_iter().find(|severity| severity.name().eq_ignore_ascii_case(word));
        known.unwrap_or(Self::Imminent)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Moderate => "moderate",
            Self::High => "high",
            Self::Imminent => "imminent",
        }
    }
}

//! The local screen: whether a message tells of a person in danger, found without any network or model.
//!
//! Rules are data (`shared/safety/*.toml`, an operator's folder on top); this finds them whatever the spelling, and
//! minds negation, quotation and idioms. It is a safety net and claims no clinical accuracy. It must not know what
//! follows from a finding.

mod building;
mod context;
mod evaluation;
mod file;
mod literals;
mod look_alikes;
mod normalise;
mod pattern;
mod reading;
mod rules;

#[cfg(test)]
mod tests;

pub use evaluation::{Evaluation, Labelled, Miss};
pub use file::Mistake;
pub use rules::RuleSet;

pub use crate::severity::Severity;

use serde::Serialize;

/// The file of an operator's folder that holds no rules: what people in danger are offered.
pub const RESOURCES_FILE: &str = "resources.toml";

/// What the screen found in one message. It never holds any of the text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    pub severity: Severity,
    /// What was told, by the rules' names for it; the gravest first, each once.
    pub signals: Vec<String>,
}

impl RuleSet {
    /// The gravest thing that a message tells of; `None` where no rule applies.
    pub fn screen(&self, message: &str) -> Option<Finding> {
        let mut found: Vec<(Severity, &str)> = Vec::new();
        for reading in reading::readings(message) {
            self.matches(&reading, &mut found);
        }
        let severity = found.iter().map(|(severity, _)| *severity).max()?;
        found.sort_by_key(|(severity, _)| std::cmp::Reverse(*severity));
        let mut signals: Vec<String> = Vec::new();
        for (_, signal) in found {
            if !signals.iter().any(|known| known == signal) {
                signals.push(signal.to_owned());
            }
        }
        Some(Finding { severity, signals })
    }
}

//! How well a rule set does on labelled messages: the confusion matrix, the recall per severity, the misses.

use serde::Deserialize;

use super::{RuleSet, Severity};

/// The severities with `none` before them: the rows and columns of the matrix.
const CLASSES: usize = Severity::ALL.len() + 1;

/// One message with what a person says of it.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Labelled {
    pub text: String,
    /// `none` or a severity.
    #[serde(deserialize_with = "label")]
    pub severity: Option<Severity>,
    /// What makes it hard or tells it apart: `idiom`, `negation`, `quotation` and the like.
    #[serde(default)]
    pub case: String,
    #[serde(default)]
    pub language: String,
}

fn label<'de, D: serde::Deserializer<'de>>(source: D) -> Result<Option<Severity>, D::Error> {
    let text = String::deserialize(source)?;
    if text == "none" {
        return Ok(None);
    }
    let known = Severity::ALL.into_iter().find(|severity| severity.name() == text);
    known.map(Some).ok_or_else(|| {
        serde::de::Error::custom("severity is none, low, moderate, high or imminent")
    })
}

/// A message that the rules judged otherwise than its label.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Miss {
    /// Its place among the messages, from 0.
    pub index: usize,
    pub expected: Option<Severity>,
    pub found: Option<Severity>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Evaluation {
    /// `matrix[expected][found]`, `none` first.
    pub matrix: [[usize; CLASSES]; CLASSES],
    pub misses: Vec<Miss>,
}

impl Evaluation {
    pub fn of<'a>(rules: &RuleSet, messages: impl IntoIterator<Item = &'a Labelled>) -> Self {
        let mut evaluation = Self::default();
        for (index, message) in messages.into_iter().enumerate() {
            let found = rules.screen(&message.text).map(|finding| finding.severity);
            let expected = message.severity;
            evaluation.matrix[class(expected)][class(found)] += 1;
            if found != expected {
                evaluation.misses.push(Miss { index, expected, found });
            }
        }
        evaluation
    }

    /// Of the messages labelled so, the part that was found with any severity; `None` where there are none.
    pub fn recall(&self, severity: Severity) -> Option<f64> {
        let row = &self.matrix[class(Some(severity))];
        share(row[1..].iter().sum(), row.iter().sum())
    }

    /// Of the messages labelled `none`, the part that was left alone.
    pub fn specificity(&self) -> Option<f64> {
        share(self.matrix[0][0], self.matrix[0].iter().sum())
    }

    /// Of the messages that were found, the part that is labelled with a severity.
    pub fn precision(&self) -> Option<f64> {
        let found: usize = self.matrix.iter().map(|row| row[1..].iter().sum::<usize>()).sum();
        share(found - self.matrix[0][1..].iter().sum::<usize>(), found)
    }
}

fn class(severity: Option<Severity>) -> usize {
    severity.map_or(0, |severity| severity as usize + 1)
}

fn share(part: usize, whole: usize) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "counts of messages in a file")]
    (whole > 0).then(|| part as f64 / whole as f64)
}

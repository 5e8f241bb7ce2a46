//! A rule file as it is written, one language each. See `shared/safety/en.toml` for what stands in one.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Severity;

/// What is wrong in a rule file, and where.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct Mistake {
    pub file: String,
    pub problem: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// Raised with every change, so that a finding tells what found it.
    pub(super) version: u32,
    #[expect(dead_code, reason = "for its readers")]
    pub(super) language: String,
    /// Groups of words that patterns name in braces.
    #[serde(default)]
    pub(super) words: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) context: ContextEntry,
    /// What means no harm although a rule would say so: idioms, titles.
    #[serde(default)]
    pub(super) harmless: Vec<String>,
    #[serde(default, rename = "rule")]
    pub(super) rules: Vec<RuleEntry>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ContextEntry {
    /// Takes back what follows in the same clause, where it governs it.
    #[serde(default)]
    pub(super) negations: Vec<String>,
    /// What may stand between a negation and what it governs; behind anything else it is minded by a step at most.
    #[serde(default)]
    pub(super) links: Vec<String>,
    /// Looks like a negation and is none.
    #[serde(default)]
    pub(super) doubts: Vec<String>,
    /// The first person as a subject: begins a clause, so that a negation before it does not reach over it.
    #[serde(default)]
    pub(super) subjects: Vec<String>,
    /// Begins a new clause as well.
    #[serde(default)]
    pub(super) turns: Vec<String>,
    /// Right behind a statement, a time: what is taken back for so long only is taken back in part.
    #[serde(default)]
    pub(super) limits: Vec<String>,
    /// Behind a statement that was taken back: says it again after all.
    #[serde(default)]
    pub(super) resumes: Vec<String>,
    /// Names a song, a film, a book beside quotation marks.
    #[serde(default)]
    pub(super) sources: Vec<String>,
    /// Says without quotation marks that somebody else's words follow: a song that goes.
    #[serde(default)]
    pub(super) attributions: Vec<String>,
    /// Behind a quotation: the writer means it as well.
    #[serde(default)]
    pub(super) meant: Vec<String>,
    /// Names a song, a poem that the writer wrote: such a quotation is lowered by a step alone.
    #[serde(default)]
    pub(super) own_works: Vec<String>,
    /// A time, a means, a farewell: what holds one is meant, whoever is quoted.
    #[serde(default)]
    pub(super) firm: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleEntry {
    pub(super) signal: String,
    pub(super) severity: Severity,
    /// Whether a negation takes it back; not so where the pattern holds the negation itself.
    #[serde(default = "yes")]
    pub(super) negatable: bool,
    pub(super) patterns: Vec<String>,
}

const fn yes() -> bool {
    true
}

pub(super) fn parse(name: &str, text: &str) -> Result<File, Mistake> {
    let wrong =
        |error: toml::de::Error| Mistake { file: name.to_owned(), problem: error.to_string() };
    toml::from_str(text).map_err(wrong)
}

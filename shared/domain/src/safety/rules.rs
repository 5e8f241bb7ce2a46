//! The rules and what they find in one reading of a message.

use std::collections::BTreeMap;

use regex::Regex;

use super::Severity;
use super::building::Building;
use super::context::{Context, Negation, Voice};
use super::file::{self, Mistake};
use super::literals::Literals;
use super::pattern::{Place, places};
use super::reading::Reading;

const ENGLISH: &str = include_str!("../../../safety/en.toml");
const GERMAN: &str = include_str!("../../../safety/de.toml");
const SPANISH: &str = include_str!("../../../safety/es.toml");
const FRENCH: &str = include_str!("../../../safety/fr.toml");
const PORTUGUESE: &str = include_str!("../../../safety/pt.toml");
const HINDI: &str = include_str!("../../../safety/hi.toml");

/// What comes with the platform: starters, for every tenant to judge and extend.
const BUILTIN: [(&str, &str); 6] = [
    ("en.toml", ENGLISH),
    ("de.toml", GERMAN),
    ("es.toml", SPANISH),
    ("fr.toml", FRENCH),
    ("pt.toml", PORTUGUESE),
    ("hi.toml", HINDI),
];

/// Every language's rules; a message may be in any of them.
pub struct RuleSet {
    pub(super) version: String,
    pub(super) literals: Literals,
    pub(super) rules: Vec<Rule>,
    pub(super) languages: Vec<Language>,
}

pub(super) struct Rule {
    pub(super) pattern: Regex,
    pub(super) signal: String,
    pub(super) severity: Severity,
    pub(super) negatable: bool,
    /// Whether a negation inside of what fits takes it back.
    pub(super) negated_within: bool,
    pub(super) language: usize,
}

pub(super) struct Language {
    pub(super) harmless: Option<Regex>,
    pub(super) context: Context,
}

impl RuleSet {
    pub fn builtin() -> Result<Self, Vec<Mistake>> {
        Self::load(&[])
    }

    /// The built-in rules and an operator's files; a file of the same name takes the built-in one's place.
    pub fn load(extra: &[(String, String)]) -> Result<Self, Vec<Mistake>> {
        let mut texts: BTreeMap<&str, &str> = BUILTIN.into_iter().collect();
        texts.extend(extra.iter().map(|(name, text)| (name.as_str(), text.as_str())));
        let mut building = Building::default();
        for (name, text) in texts {
            match file::parse(name, text) {
                Ok(file) => building.add(name, &file),
                Err(mistake) => building.mistakes.push(mistake),
            }
        }
        building.finish()
    }

    /// Every file with its version, such as `de-1 en-3`; a finding is stored with it.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// How many patterns there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Adds every rule that a reading fits, with what its context leaves of the severity.
    pub(super) fn matches<'a>(&'a self, reading: &Reading, found: &mut Vec<(Severity, &'a str)>) {
        let mut idioms: Vec<Option<Vec<Place>>> = vec![None; self.languages.len()];
        for at in self.literals.candidates(&reading.text) {
            let rule = &self.rules[at];
            let language = &self.languages[rule.language];
            let mut most = None;
            for place in places(&rule.pattern, &reading.text) {
                let idioms = idioms[rule.language].get_or_insert_with(|| language.idioms(reading));
                if !covers(idioms, place) {
                    most = most.max(language.judge(rule, reading, place));
                }
                // Nothing graver can come, however often it is said.
                if most == Some(rule.severity) {
                    break;
                }
            }
            if let Some(severity) = most {
                found.push((severity, &rule.signal));
            }
        }
    }
}

impl Language {
    fn idioms(&self, reading: &Reading) -> Vec<Place> {
        self.harmless.iter().flat_map(|harmless| places(harmless, &reading.text)).collect()
    }

    /// What is left of a rule's severity at this place; `None` where it is taken back.
    fn judge(&self, rule: &Rule, reading: &Reading, place: Place) -> Option<Severity> {
        let Place { start, end } = place;
        let context = &self.context;
        let negation = match rule.negatable {
            true => context.negation(reading, start, end, rule.negated_within),
            false => Negation::None,
        };
        let severity = match negation {
            Negation::Whole => return None,
            Negation::Perhaps => lower(rule.severity),
            Negation::None => rule.severity,
        };
        match context.voice(reading, start, end) {
            Voice::Own => Some(severity),
            _ if severity == Severity::Imminent && context.is_firm(&reading.text, start) => {
                Some(severity)
            }
            Voice::Quoted => Some(lower(severity)),
            Voice::Attributed => Some(Severity::Low),
        }
    }
}

/// Whether one of the idioms holds all of a place; one that shares but some words with it excuses nothing.
fn covers(idioms: &[Place], place: Place) -> bool {
    let begun = idioms.partition_point(|idiom| idiom.start <= place.start);
    begun.checked_sub(1).is_some_and(|last| place.end <= idioms[last].end)
}

const fn lower(severity: Severity) -> Severity {
    match severity {
        Severity::Imminent => Severity::High,
        Severity::High => Severity::Moderate,
        Severity::Moderate | Severity::Low => Severity::Low,
    }
}

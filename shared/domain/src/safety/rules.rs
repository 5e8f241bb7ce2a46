//! Rules made ready for matching: one look at all patterns at once tells which of them to look for in earnest.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

use super::Severity;
use super::context::Context;
use super::file::{self, ContextEntry, File, Mistake};

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

/// The compiled patterns of all files may take this much; the built-in ones take a tenth.
const SIZE_LIMIT: usize = 64 << 20;

/// Every language's rules; a message may be in any of them.
pub struct RuleSet {
    version: String,
    patterns: RegexSet,
    rules: Vec<Rule>,
    languages: Vec<Language>,
}

struct Rule {
    pattern: Regex,
    signal: String,
    severity: Severity,
    negatable: bool,
    language: usize,
}

struct Language {
    harmless: Option<Regex>,
    context: Context,
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

    /// Adds every rule that a normalised text fits, with what its context leaves of the severity.
    pub(super) fn matches<'a>(&'a self, text: &str, found: &mut Vec<(Severity, &'a str)>) {
        for at in self.patterns.matches(text) {
            let rule = &self.rules[at];
            let severity = rule.pattern.find_iter(text).filter_map(|place| {
                self.languages[rule.language].judge(rule, text, place.start(), place.end())
            });
            if let Some(severity) = severity.max() {
                found.push((severity, &rule.signal));
            }
        }
    }
}

impl Language {
    /// What is left of a rule's severity at this place; `None` where it means no harm or is taken back.
    fn judge(&self, rule: &Rule, text: &str, start: usize, end: usize) -> Option<Severity> {
        // Both begin and end with a space, which they may share without having a word in common.
        let meets = |idiom: regex::Match<'_>| idiom.start() + 1 < end && start + 1 < idiom.end();
        if self.harmless.as_ref().is_some_and(|idioms| idioms.find_iter(text).any(meets)) {
            return None;
        }
        if rule.negatable && self.context.negates(text, start, end) {
            return None;
        }
        if self.context.quotes(text, start, end) {
            return Some(Severity::Low);
        }
        Some(rule.severity)
    }
}

#[derive(Default)]
struct Building {
    versions: Vec<String>,
    sources: Vec<String>,
    rules: Vec<Rule>,
    languages: Vec<Language>,
    mistakes: Vec<Mistake>,
}

impl Building {
    fn add(&mut self, name: &str, file: &File) {
        let stem = name.strip_suffix(".toml").unwrap_or(name);
        self.versions.push(format!("{stem}-{}", file.version));
        let language = self.languages.len();
        for entry in &file.rules {
            for pattern in &entry.patterns {
                let Some((source, pattern)) = self.compile(name, file, pattern) else { continue };
                self.sources.push(source);
                self.rules.push(Rule {
                    pattern,
                    signal: entry.signal.clone(),
                    severity: entry.severity,
                    negatable: entry.negatable,
                    language,
                });
            }
        }
        let harmless = self.any_of(name, file, &file.harmless);
        let ContextEntry { negations, doubts, turns, sources } = &file.context;
        let context = Context {
            negations: self.any_of(name, file, negations),
            doubts: self.any_of(name, file, doubts),
            turns: self.any_of(name, file, turns),
            sources: self.any_of(name, file, sources),
        };
        self.languages.push(Language { harmless, context });
    }

    fn any_of(&mut self, name: &str, file: &File, patterns: &[String]) -> Option<Regex> {
        if patterns.is_empty() {
            return None;
        }
        let grouped: Vec<String> =
            patterns.iter().map(|pattern| format!("(?:{pattern})")).collect();
        Some(self.compile(name, file, &grouped.join("|"))?.1)
    }

    fn compile(&mut self, name: &str, file: &File, pattern: &str) -> Option<(String, Regex)> {
        let source = match expand(pattern, &file.words) {
            Ok(source) => source,
            Err(problem) => {
                self.mistakes.push(Mistake { file: name.to_owned(), problem });
                return None;
            }
        };
        match RegexBuilder::new(&source).size_limit(SIZE_LIMIT).build() {
            Ok(regex) => Some((source, regex)),
            Err(error) => {
                let problem = format!("{pattern:?} is no pattern: {error}");
                self.mistakes.push(Mistake { file: name.to_owned(), problem });
                None
            }
        }
    }

    fn finish(mut self) -> Result<RuleSet, Vec<Mistake>> {
        let patterns = RegexSetBuilder::new(&self.sources)
            .size_limit(SIZE_LIMIT)
            .dfa_size_limit(SIZE_LIMIT)
            .build();
        match patterns {
            Ok(patterns) if self.mistakes.is_empty() => Ok(RuleSet {
                version: self.versions.join(" "),
                patterns,
                rules: self.rules,
                languages: self.languages,
            }),
            Ok(_) => Err(self.mistakes),
            Err(error) => {
                let problem = format!("the patterns cannot be used together: {error}");
                self.mistakes.push(Mistake { file: "all files".to_owned(), problem });
                Err(self.mistakes)
            }
        }
    }
}

/// A pattern as a regular expression over whole words: `{name}` is a group of words, a space may be left out by who
/// writes, `_` is up to two words of no matter.
fn expand(pattern: &str, words: &BTreeMap<String, String>) -> Result<String, String> {
    let mut source = String::from(" (?:");
    let mut rest = pattern;
    while let Some(at) = rest.find(['{', ' ', '_']) {
        source.push_str(&rest[..at]);
        let (mark, after) = rest[at..].split_at(1);
        rest = after;
        match mark {
            " " => source.push_str(" ?"),
            "_" => source.push_str(r"(?:[^ .,]+ ){0,2}"),
            _ => {
                let (name, after) =
                    rest.split_once('}').ok_or_else(|| format!("{pattern:?} lacks a }}"))?;
                let group = words.get(name).ok_or_else(|| {
                    format!("{pattern:?} names the words {name:?}, which are nowhere")
                })?;
                source.push_str(&format!("(?:{})", group.replace(' ', " ?")));
                rest = after;
            }
        }
    }
    source.push_str(rest);
    source.push_str(") ");
    Ok(source)
}

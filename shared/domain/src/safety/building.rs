//! Rule files made ready for matching; every mistake in them is told, not only the first.

use regex::{Regex, RegexBuilder};

use super::context::Context;
use super::file::{ContextEntry, File, Mistake};
use super::literals::Literals;
use super::pattern::{any, expand, governing, whole};
use super::rules::{Language, Rule, RuleSet};

/// One compiled pattern may take this much.
const SIZE_LIMIT: usize = 16 << 20;

#[derive(Default)]
pub(super) struct Building {
    versions: Vec<String>,
    sources: Vec<String>,
    rules: Vec<Rule>,
    languages: Vec<Language>,
    pub(super) mistakes: Vec<Mistake>,
}

impl Building {
    pub(super) fn add(&mut self, name: &str, file: &File) {
        let stem = name.strip_suffix(".toml").unwrap_or(name);
        self.versions.push(format!("{stem}-{}", file.version));
        let context = self.context(name, file);
        for entry in &file.rules {
            for written in &entry.patterns {
                let source = self.expanded(name, file, written).map(|inner| whole(&inner));
                let Some(source) = source else { continue };
                let Some(pattern) = self.compiled(name, &source) else { continue };
                self.sources.push(source);
                self.rules.push(Rule {
                    pattern,
                    signal: entry.signal.clone(),
                    severity: entry.severity,
                    negatable: entry.negatable,
                    negated_within: entry.negatable && !names_a_negation(&context, written),
                    language: self.languages.len(),
                });
            }
        }
        let harmless = self.any_of(name, file, &file.harmless);
        self.languages.push(Language { harmless, context });
    }

    fn context(&mut self, name: &str, file: &File) -> Context {
        let entry = &file.context;
        let ContextEntry { negations, links, doubts, subjects, turns, limits, .. } = entry;
        Context {
            negations: self.any_of(name, file, negations),
            governing: self.governing(name, file, negations, links),
            doubts: self.any_of(name, file, doubts),
            subjects: self.any_of(name, file, subjects),
            turns: self.any_of(name, file, turns),
            limits: self.beginning(name, file, limits),
            resumes: self.any_of(name, file, &entry.resumes),
            meant: self.any_of(name, file, &entry.meant),
            own_works: self.any_of(name, file, &entry.own_works),
            sources: self.any_of(name, file, &entry.sources),
            attributions: self.attributions(name, file, &entry.attributions),
            firm: self.any_of(name, file, &entry.firm),
        }
    }

    fn any_of(&mut self, name: &str, file: &File, patterns: &[String]) -> Option<Regex> {
        let inner = self.all_expanded(name, file, patterns)?;
        self.compiled(name, &whole(&any(&inner)))
    }

    /// What a text begins with.
    fn beginning(&mut self, name: &str, file: &File, patterns: &[String]) -> Option<Regex> {
        let inner = self.all_expanded(name, file, patterns)?;
        self.compiled(name, &format!("^{}", whole(&any(&inner))))
    }

    fn attributions(&mut self, name: &str, file: &File, patterns: &[String]) -> Option<Regex> {
        let inner = self.all_expanded(name, file, patterns)?;
        self.compiled(name, &format!("{}$", whole(&any(&inner))))
    }

    fn governing(
        &mut self,
        name: &str,
        file: &File,
        negations: &[String],
        links: &[String],
    ) -> Option<Regex> {
        let negations = self.all_expanded(name, file, negations)?;
        let links = self.all_expanded(name, file, links).unwrap_or_default();
        self.compiled(name, &governing(&negations, &links))
    }

    fn all_expanded(&mut self, name: &str, file: &File, all: &[String]) -> Option<Vec<String>> {
        let inner: Vec<_> = all.iter().filter_map(|it| self.expanded(name, file, it)).collect();
        (!inner.is_empty()).then_some(inner)
    }

    fn expanded(&mut self, name: &str, file: &File, pattern: &str) -> Option<String> {
        expand(pattern, &file.words).map_err(|problem| self.mistake(name, problem)).ok()
    }

    fn compiled(&mut self, name: &str, source: &str) -> Option<Regex> {
        let regex = RegexBuilder::new(source).size_limit(SIZE_LIMIT).build();
        regex.map_err(|error| self.mistake(name, format!("{source:?} is no pattern: {error}"))).ok()
    }

    fn mistake(&mut self, name: &str, problem: String) {
        self.mistakes.push(Mistake { file: name.to_owned(), problem });
    }

    pub(super) fn finish(mut self) -> Result<RuleSet, Vec<Mistake>> {
        match Literals::of(&self.sources) {
            Ok(literals) if self.mistakes.is_empty() => Ok(RuleSet {
                version: self.versions.join(" "),
                literals,
                rules: self.rules,
                languages: self.languages,
            }),
            Ok(_) => Err(self.mistakes),
            Err(error) => {
                self.mistake("all files", format!("the patterns cannot be used together: {error}"));
                Err(self.mistakes)
            }
        }
    }
}

/// Whether a pattern itself says no: then a no in what fits it takes nothing back.
fn names_a_negation(context: &Context, pattern: &str) -> bool {
    let words: Vec<&str> =
        pattern.split(|c: char| !c.is_alphanumeric()).filter(|it| !it.is_empty()).collect();
    context.negates(&format!(" {} ", words.join(" ")))
}

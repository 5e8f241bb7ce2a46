//! What stands around a match: a negation that takes it back, quotation marks or a source that make it others' words.

use regex::Regex;

/// How many words back a negation reaches within its clause.
const REACH: usize = 5;

pub(super) struct Context {
    pub(super) negations: Option<Regex>,
    pub(super) doubts: Option<Regex>,
    pub(super) turns: Option<Regex>,
    pub(super) sources: Option<Regex>,
}

impl Context {
    /// Whether a negation stands in a match or shortly before it, in the same clause.
    pub(super) fn negates(&self, text: &str, start: usize, end: usize) -> bool {
        let Some(negations) = &self.negations else { return false };
        let clause = self.clause_before(text, start);
        let words: Vec<&str> = clause.split_ascii_whitespace().collect();
        let near = words[words.len().saturating_sub(REACH)..].join(" ");
        let before = format!(" {near} ");
        let doubted =
            self.doubts.as_ref().is_some_and(|doubts| doubts.is_match(&format!("{clause} ")));
        !doubted && (negations.is_match(&before) || negations.is_match(&text[start..end]))
    }

    /// Whether the words between `start` and `end` are somebody else's.
    pub(super) fn quotes(&self, text: &str, start: usize, end: usize) -> bool {
        let opened = text[..start].matches('"').count() % 2 == 1;
        let closed = text[end..].contains('"');
        let sentence = text[..start].rsplit('.').next().unwrap_or_default();
        let sourced = self
            .sources
            .as_ref()
            .is_some_and(|sources| sources.is_match(&format!(" {} ", sentence.trim())));
        (opened && closed) || sourced
    }

    fn clause_before<'a>(&self, text: &'a str, start: usize) -> &'a str {
        let before = &text[..start];
        let clause = before.rsplit(['.', ',', '"']).next().unwrap_or_default();
        let turn = self.turns.as_ref().and_then(|turns| turns.find_iter(clause).last());
        turn.map_or(clause, |turn| &clause[turn.end()..])
    }
}

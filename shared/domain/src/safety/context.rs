//! What stands around a match: a negation that takes it back, quotation marks or a source that make it others' words.
//!
//! Only a negation that governs the match takes it back whole; whatever is less certain lowers it by a step at most.

use regex::Regex;

use super::pattern::places;
use super::reading::Reading;

/// How many words back a negation that does not govern a match is minded.
const REACH: usize = 5;
/// How many words beside a quotation are looked at for its source.
const BESIDE: usize = 8;
/// No clause is looked at for longer, so that many matches in one long clause cost no more than as many short ones.
const LONGEST: usize = 160;

/// One language's words for it; see `shared/safety/en.toml`.
#[derive(Default)]
pub(super) struct Context {
    pub(super) negations: Option<Regex>,
    /// A negation with nothing but links between it and the end of the text.
    pub(super) governing: Option<Regex>,
    pub(super) doubts: Option<Regex>,
    pub(super) subjects: Option<Regex>,
    pub(super) turns: Option<Regex>,
    /// A time to which a negation is limited, right behind a match.
    pub(super) limits: Option<Regex>,
    pub(super) resumes: Option<Regex>,
    pub(super) meant: Option<Regex>,
    pub(super) own_works: Option<Regex>,
    pub(super) sources: Option<Regex>,
    pub(super) attributions: Option<Regex>,
    pub(super) firm: Option<Regex>,
}

/// How far a negation takes a statement back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Negation {
    Whole,
    Perhaps,
    None,
}

/// Whose words they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Voice {
    Own,
    /// In quotation marks, and nobody is named who says it; or of a song that the writer wrote.
    Quoted,
    /// Of a song, a film, a book.
    Attributed,
}

impl Context {
    /// Whether a match is taken back: by a negation before it or, with `within`, by one inside of it. One that is
    /// limited to a time does so in part, and one that is itself taken back behind the match not at all.
    pub(super) fn negation(
        &self,
        reading: &Reading,
        start: usize,
        end: usize,
        within: bool,
    ) -> Negation {
        let text = &reading.text;
        let negation = if within && self.negates(&text[start..end]) {
            Negation::Whole
        } else {
            self.negation_before(reading, start, end)
        };
        if negation == Negation::None || matches(&self.resumes, aftermath(text, end)) {
            return Negation::None;
        }
        // The time may be the last that the match itself holds.
        let last = text[..end - 1].rfind(' ').unwrap_or(start).max(start);
        let limited = [last, end - 1].iter().any(|at| matches(&self.limits, &text[*at..]));
        if limited { Negation::Perhaps } else { negation }
    }

    fn negation_before(&self, reading: &Reading, start: usize, end: usize) -> Negation {
        let Some(negations) = &self.negations else { return Negation::None };
        let clause = self.clause_before(reading, start, end);
        let here = &reading.text[start..end];
        // `nobody knows | I want to die`: a subject begins a clause of its own.
        let begins_anew = |text: &str| matches(&self.subjects, text);
        if matches(&self.doubts, clause) || clause.len() < 2 {
            return Negation::None;
        }
        let first = &here[..=here[1..].find(' ').map_or(here.len() - 1, |at| at + 1)];
        if begins_anew(first) {
            return Negation::None;
        }
        if matches(&self.governing, clause) {
            return Negation::Whole;
        }
        let near = last_words(clause, REACH);
        match places(negations, near).last() {
            Some(place) if !begins_anew(&near[place.end - 1..]) => Negation::Perhaps,
            _ => Negation::None,
        }
    }

    /// Whether a text holds a negation.
    pub(super) fn negates(&self, text: &str) -> bool {
        matches(&self.negations, text)
    }

    /// Whose words stand between `start` and `end`.
    pub(super) fn voice(&self, reading: &Reading, start: usize, end: usize) -> Voice {
        let voice = self.voice_of_quotation(reading, start, end);
        match voice {
            Voice::Own => Voice::Own,
            _ if matches(&self.meant, aftermath(&reading.text, end)) => Voice::Own,
            Voice::Attributed if self.is_own_work(reading, start) => Voice::Quoted,
            voice => voice,
        }
    }

    fn is_own_work(&self, reading: &Reading, start: usize) -> bool {
        matches(&self.own_works, since(&reading.text[..=start], &['.']))
    }

    fn voice_of_quotation(&self, reading: &Reading, start: usize, end: usize) -> Voice {
        let Reading { text, quotes } = reading;
        let before = quotes.partition_point(|quote| *quote <= start + 1);
        let closed = quotes.get(before).copied().filter(|close| *close >= end);
        if let (1, Some(close)) = (before % 2, closed) {
            return self.quoted(text, quotes[before - 1], close);
        }
        let clause = clause_before(reading, start);
        if matches(&self.attributions, clause) { Voice::Attributed } else { Voice::Own }
    }

    /// Whether a time, a means or a farewell stands in a match or behind it in its sentence: then it is no quotation.
    pub(super) fn is_firm(&self, text: &str, start: usize) -> bool {
        matches(&self.firm, until(&text[start..], &['.']))
    }

    fn quoted(&self, text: &str, open: usize, close: usize) -> Voice {
        let before = text[..open].trim_end_matches(['.', ',', ':', ' ']);
        let before = format!("{} ", since(before, &['.', ',', ':']));
        let after = until(&text[close - 1..], &['.', ',', ':']);
        let beside = [last_words(&before, BESIDE), first_words(after, BESIDE)];
        if beside.iter().any(|words| matches(&self.sources, words)) {
            return Voice::Attributed;
        }
        let own = beside.iter().any(|words| matches(&self.subjects, words));
        if own { Voice::Own } else { Voice::Quoted }
    }

    fn clause_before<'a>(&self, reading: &'a Reading, start: usize, end: usize) -> &'a str {
        let clause = clause_before(reading, start);
        let Some(turns) = &self.turns else { return clause };
        // A turn may take the first word of the match along: `and want`.
        let from = start + 1 - clause.len();
        let first = reading.text[start + 1..end].find(' ').map_or(end, |at| start + at + 2);
        let turn = places(turns, &reading.text[from..first]).last();
        turn.map_or(clause, |turn| clause.get(turn.end - 1..).unwrap_or_default())
    }
}

fn matches(regex: &Option<Regex>, text: &str) -> bool {
    regex.as_ref().is_some_and(|regex| regex.is_match(text))
}

/// What stands behind a match, at its longest: the rest of its sentence and the next one, with the marks at their ends.
fn aftermath(text: &str, end: usize) -> &str {
    let near = until(&text[end - 1..], &[]);
    let second = near.match_indices('.').nth(1);
    second.map_or(near, |(at, _)| &near[..near.len().min(at + 2)])
}

/// The words before a match that belong to its clause, with a space before and after.
fn clause_before(reading: &Reading, start: usize) -> &str {
    let quote = reading.quotes.partition_point(|quote| *quote <= start + 1);
    let from = quote.checked_sub(1).map_or(0, |at| reading.quotes[at] - 1);
    since(&reading.text[from..=start], &['.', ',', ':'])
}

/// The last part of a text without one of these marks, at its longest.
fn since<'a>(text: &'a str, marks: &[char]) -> &'a str {
    let part = match text.len().checked_sub(LONGEST) {
        None | Some(0) => text,
        // At a space, for no word may be cut.
        Some(cut) => {
            &text[text.as_bytes()[cut..]
                .iter()
                .position(|b| *b == b' ')
                .map_or(text.len(), |at| cut + at)..]
        }
    };
    part.rfind(marks).map_or(part, |mark| &part[mark + 1..])
}

/// The first part of a text without one of these marks, at its longest.
fn until<'a>(text: &'a str, marks: &[char]) -> &'a str {
    let cut = text.len().min(LONGEST);
    let longest = text.as_bytes()[cut..]
        .iter()
        .position(|b| *b == b' ')
        .map_or(text.len(), |at| cut + at + 1);
    let part = &text[..longest];
    part.find(marks).map_or(part, |mark| &part[..mark])
}

/// The last words of a text that ends with a space, with a space before them.
fn last_words(text: &str, count: usize) -> &str {
    let from = text.rmatch_indices(' ').nth(count).map_or(0, |(at, _)| at);
    &text[from..]
}

/// The first words of a text that begins with a space, with a space behind them.
fn first_words(text: &str, count: usize) -> &str {
    let to = text.match_indices(' ').nth(count).map_or(text.len(), |(at, _)| at + 1);
    &text[..to]
}

//! How a pattern of a rule file becomes a regular expression over whole words, and how its places are found.

use std::collections::BTreeMap;

use regex::Regex;

/// Where a pattern fits, the spaces before and after included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Every place from the left; neighbours may share the space between them.
pub(super) fn places<'a>(regex: &'a Regex, text: &'a str) -> impl Iterator<Item = Place> + 'a {
    let mut at = 0;
    std::iter::from_fn(move || {
        let found = regex.find_at(text, at)?;
        // A place has at least the two spaces, so this goes on.
        at = found.end() - 1;
        Some(Place { start: found.start(), end: found.end() })
    })
}

/// A pattern between spaces.
pub(super) fn whole(inner: &str) -> String {
    format!(" (?:{inner}) ")
}

pub(super) fn any(inner: &[String]) -> String {
    let grouped: Vec<String> = inner.iter().map(|it| format!("(?:{it})")).collect();
    grouped.join("|")
}

/// A negation that is followed by links alone up to the end.
pub(super) fn governing(negations: &[String], links: &[String]) -> String {
    let links = if links.is_empty() { String::new() } else { format!("(?:(?:{}) )*", any(links)) };
    format!(" (?:{}) {links}$", any(negations))
}

/// `{name}` is a group of words, a space may be left out by who writes, `_` is up to two words of no matter, `~` up to
/// eight of the same sentence.
pub(super) fn expand(pattern: &str, words: &BTreeMap<String, String>) -> Result<String, String> {
    let mut source = String::new();
    let mut rest = pattern;
    while let Some(at) = rest.find(['{', ' ', '_', '~']) {
        source.push_str(&rest[..at]);
        let (mark, after) = rest[at..].split_at(1);
        rest = after;
        match mark {
            " " => source.push_str(" ?"),
            "~" => source.push_str(r"(?:[^ .:]+ ){0,8}"),
            "_" => source.push_str(r"(?:[^ .,:]+ ){0,2}"),
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
    Ok(source)
}

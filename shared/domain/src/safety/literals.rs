//! Which patterns may fit a text at all: each needs one of a few literals, and all literals are looked for at once.
//!
//! Most messages hold none, and cost no more than this one look.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use regex_syntax::hir::literal::{Extractor, Seq};
use regex_syntax::hir::{Hir, HirKind};

/// Shorter literals stand in every text.
const SHORTEST: usize = 3;
/// A pattern that needs more alternatives than this is tried on every text instead.
const MOST: usize = 400;

pub(super) struct Literals {
    search: AhoCorasick,
    /// By literal, the patterns that need it.
    needed_by: Vec<Vec<usize>>,
    /// The patterns that need no literal.
    always: Vec<usize>,
    patterns: usize,
}

impl Literals {
    /// `sources` are regular expressions.
    pub(super) fn of(sources: &[String]) -> Result<Self, String> {
        let mut by_literal = std::collections::BTreeMap::<Vec<u8>, Vec<usize>>::new();
        let mut always = Vec::new();
        for (pattern, source) in sources.iter().enumerate() {
            let tree = regex_syntax::parse(source).map_err(|error| error.to_string())?;
            match needed(&tree) {
                Some(literals) => {
                    for literal in literals {
                        by_literal.entry(literal).or_default().push(pattern);
                    }
                }
                None => always.push(pattern),
            }
        }
        let (literals, needed_by): (Vec<_>, Vec<_>) = by_literal.into_iter().unzip();
        let search = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::DFA))
            .build(&literals)
            .map_err(|error| error.to_string())?;
        Ok(Self { search, needed_by, always, patterns: sources.len() })
    }

    /// The patterns that may fit the text, each once, in their order.
    pub(super) fn candidates(&self, text: &str) -> Vec<usize> {
        let mut seen = vec![false; self.needed_by.len()];
        let mut may_fit = Vec::new();
        for found in self.search.find_overlapping_iter(text) {
            let literal = found.pattern().as_usize();
            if !std::mem::replace(&mut seen[literal], true) {
                may_fit.push(literal);
            }
        }
        let mut candidates = self.always.clone();
        candidates.extend(may_fit.into_iter().flat_map(|literal| &self.needed_by[literal]));
        candidates.sort_unstable();
        candidates.dedup();
        debug_assert!(candidates.len() <= self.patterns);
        candidates
    }
}

/// Literals of which every text that fits holds one; `None` where there are none worth looking for.
fn needed(tree: &Hir) -> Option<Vec<Vec<u8>>> {
    let inner = match tree.kind() {
        HirKind::Concat(parts) => (0..parts.len())
            .flat_map(|at| [first(&Hir::concat(parts[at..].to_vec())), needed(&parts[at])])
            .flatten()
            .max_by_key(|literals| worth(literals)),
        HirKind::Alternation(branches) => {
            let all: Option<Vec<_>> = branches.iter().map(needed).collect();
            all.map(|literals| literals.concat())
        }
        HirKind::Repetition(repeated) if repeated.min > 0 => needed(&repeated.sub),
        HirKind::Capture(group) => needed(&group.sub),
        _ => None,
    };
    let best = [inner, first(tree)].into_iter().flatten().max_by_key(|literals| worth(literals));
    best.filter(|literals| literals.len() <= MOST)
}

/// What every text that fits begins with.
fn first(tree: &Hir) -> Option<Vec<Vec<u8>>> {
    let mut beginnings: Seq = Extractor::new().limit_total(MOST).extract(tree);
    beginnings.dedup();
    let literals: Vec<_> = beginnings.literals()?.iter().map(|it| it.as_bytes().to_vec()).collect();
    let fits = |literal: &Vec<u8>| literal.len() >= SHORTEST;
    (!literals.is_empty() && literals.iter().all(fits)).then_some(literals)
}

/// Long literals are rare ones, and few are better than many.
fn worth(literals: &[Vec<u8>]) -> (usize, std::cmp::Reverse<usize>) {
    let shortest = literals.iter().map(Vec::len).min().unwrap_or(0);
    (shortest.min(8), std::cmp::Reverse(literals.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_candidate_wherever_it_could_fit() {
        let sources = [" (?:(?:want|wish) ?to ?)?(?:die|be ?dead) ", " k[i*]ll ?myself ", "[a-z]"];
        let literals = Literals::of(&sources.map(str::to_owned)).unwrap();
        assert_eq!(literals.candidates(" i wish to die "), [0, 2]);
        assert_eq!(literals.candidates(" k*ll myself "), [1, 2]);
        assert_eq!(literals.candidates(" i slept well "), [2]);
    }
}

//! What can be said once the whole history has been seen: what never came, and whether the clients agree.

use std::collections::{BTreeMap, HashMap};

use super::book::Book;
use super::follower::Follower;
use super::history::ClientName;
use super::value::Value;
use super::verdict::{Lost, Place, Verdict, Wrong};

pub(super) fn close(
    book: &Book,
    followers: &BTreeMap<ClientName, Follower>,
    verdict: &mut Verdict,
) {
    for (client, follower) in followers {
        verdict.lost.extend(lost(book, client, follower));
        verdict.announced += announced(book, follower);
    }
    for (at, (_, one)) in followers.iter().enumerate() {
        for (client, other) in followers.iter().skip(at + 1) {
            verdict.disorder.extend(disagreement(book, one, client, other));
        }
    }
    book.report(verdict);
    let lost = |value: &Value| verdict.lost.iter().any(|lost| lost.value == *value);
    let read = book.written.iter().filter(|(_, w)| w.read.is_some() && w.stored.is_some());
    verdict.ok = read.filter(|(value, _)| !lost(value)).count();
}

fn lost(book: &Book, client: &ClientName, follower: &Follower) -> Vec<Lost> {
    let mut lost = Vec::new();
    for (value, written) in &book.written {
        // Read by anybody is as good as acknowledged.
        let known = written.stored.as_ref().map(|stored| stored.answered).or(written.read);
        let Some(known) = known else { continue };
        if !follower.misses(value, book) {
            continue;
        }
        let place = place(follower, value);
        if place != Place::Postfix || follower.drained.is_some_and(|drained| drained > known) {
            lost.push(Lost { client: client.clone(), value: value.clone(), place });
        }
    }
    lost.sort_by(|a, b| a.value.cmp(&b.value));
    lost
}

fn announced(book: &Book, follower: &Follower) -> usize {
    let missing = book.written.iter().filter(|(value, written)| {
        written.stored.is_some()
            && !follower.has(value)
            && follower.owes(written)
            && follower.excused(written)
    });
    missing.count()
}

fn place(follower: &Follower, value: &Value) -> Place {
    let (mut before, mut after) = (false, false);
    for given in follower.given().filter(|given| given.writer == value.writer) {
        before |= given.counter < value.counter;
        after |= given.counter > value.counter;
    }
    match (before, after) {
        (_, false) => Place::Postfix,
        (false, true) => Place::Prefix,
        (true, true) => Place::Middle,
    }
}

/// What one writer writes to the same channels stands in one stream, so two clients get it in one order.
fn disagreement(book: &Book, one: &Follower, client: &ClientName, other: &Follower) -> Vec<Wrong> {
    let ranks: HashMap<&Value, usize> =
        one.arrivals.iter().enumerate().map(|(rank, value)| (value, rank)).collect();
    let mut last: HashMap<(&str, &[String]), usize> = HashMap::new();
    let mut wrong = Vec::new();
    for value in &other.arrivals {
        let (Some(&rank), Some(written)) = (ranks.get(value), book.written.get(value)) else {
            continue;
        };
        let last = last.entry((&value.writer, &written.channels)).or_insert(rank);
        if *last > rank {
            let detail = "another client got it earlier".to_owned();
            wrong.push(Wrong { client: client.clone(), value: value.clone(), detail });
        }
        *last = rank.max(*last);
    }
    wrong
}

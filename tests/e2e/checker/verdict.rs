//! The checker's answer: which promises were broken, and how often which good thing happened.

use std::fmt;

use super::history::ClientName;
use super::value::Value;

/// Where in its writer's series a lost value stood, as its client saw the series.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    Prefix,
    Middle,
    Postfix,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Lost {
    pub(crate) client: ClientName,
    pub(crate) value: Value,
    pub(crate) place: Place,
}

/// A client's frame at which something is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Wrong {
    pub(crate) client: ClientName,
    pub(crate) value: Value,
    pub(crate) detail: String,
}

#[derive(Default, Debug)]
pub(crate) struct Verdict {
    /// Values that were acknowledged, and given to everybody who had to get them.
    pub(crate) ok: usize,
    /// Never acknowledged, but read: fine.
    pub(crate) recovered: usize,
    /// Never acknowledged and never read: fine.
    pub(crate) unknown: usize,
    /// Deliveries that were missing and that a gap had announced.
    pub(crate) announced: usize,
    pub(crate) frames: usize,
    pub(crate) gaps: usize,

    /// Owed to a client that has read to the end, and never given to it.
    pub(crate) lost: Vec<Lost>,
    /// Given although never attempted, refused, changed, or meant for other channels.
    pub(crate) unexpected: Vec<Wrong>,
    pub(crate) duplicates: Vec<Wrong>,
    /// Against the stream's order, or against the order in which another client got the same events.
    pub(crate) disorder: Vec<Wrong>,
    /// A later event of the stream came although this one was still owed, without a gap frame in between.
    pub(crate) silent_gaps: Vec<Wrong>,
    /// One value at two places of the log.
    pub(crate) stored_twice: Vec<Value>,
    /// A publisher's later value stands before an earlier one in the log.
    pub(crate) publisher_order: Vec<Value>,
}

impl Verdict {
    pub(crate) fn is_clean(&self) -> bool {
        self.lost.is_empty()
            && self.unexpected.is_empty()
            && self.duplicates.is_empty()
            && self.disorder.is_empty()
            && self.silent_gaps.is_empty()
            && self.stored_twice.is_empty()
            && self.publisher_order.is_empty()
    }

    /// The client whose story tells most.
    pub(crate) fn first_victim(&self) -> Option<ClientName> {
        let wrong = [&self.unexpected, &self.duplicates, &self.disorder, &self.silent_gaps];
        let wrong = wrong.into_iter().flatten().map(|wrong| &wrong.client);
        wrong.chain(self.lost.iter().map(|lost| &lost.client)).next().cloned()
    }

    pub(crate) fn lost_at(&self, place: Place) -> usize {
        self.lost.iter().filter(|lost| lost.place == place).count()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "ok {}, recovered {}, unknown {}, announced {}, frames {}, gaps {}; \
             lost {} (prefix {}, middle {}, postfix {}), unexpected {}, duplicate {}, disorder {}, \
             silent gap {}, stored twice {}, publisher order {}",
            self.ok,
            self.recovered,
            self.unknown,
            self.announced,
            self.frames,
            self.gaps,
            self.lost.len(),
            self.lost_at(Place::Prefix),
            self.lost_at(Place::Middle),
            self.lost_at(Place::Postfix),
            self.unexpected.len(),
            self.duplicates.len(),
            self.disorder.len(),
            self.silent_gaps.len(),
            self.stored_twice.len(),
            self.publisher_order.len(),
        )?;
        some(f, "lost", &self.lost)?;
        some(f, "unexpected", &self.unexpected)?;
        some(f, "duplicate", &self.duplicates)?;
        some(f, "disorder", &self.disorder)?;
        some(f, "silent gap", &self.silent_gaps)?;
        some(f, "stored twice", &self.stored_twice)?;
        some(f, "publisher order", &self.publisher_order)
    }
}

fn some(f: &mut fmt::Formatter<'_>, title: &str, all: &[impl fmt::Debug]) -> fmt::Result {
    for one in all.iter().take(5) {
        writeln!(f, "  {title}: {one:?}")?;
    }
    Ok(())
}

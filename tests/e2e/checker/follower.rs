//! One client as the checker sees it: what it holds, what it has been given on the line of cursors it follows,
//! and from where on each of its channels owes it everything.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::book::{Book, Written};
use super::value::Value;

/// From where on a channel's events are owed.
#[derive(Clone)]
pub(super) enum Base {
    /// Asked for "from now on", not yet confirmed: nothing is owed before the first frame.
    Asked,
    /// What was attempted after this entry of the history, or stands in a stream behind its floor.
    Since {
        entry: usize,
        floors: HashMap<String, u64>,
    },
    Everything,
}

/// A delivery, linked to the one before it on the same line of cursors.
pub(super) struct Given {
    pub(super) before: Option<usize>,
    pub(super) value: Value,
    pub(super) name: String,
}

#[derive(Default)]
pub(super) struct Follower {
    pub(super) channels: BTreeMap<String, Base>,
    /// The last delivery of the current line, an index into the judge's deliveries.
    pub(super) tip: Option<usize>,
    /// Deliveries of the current line, by value and wire name.
    known: HashSet<(Value, String)>,
    values: HashSet<Value>,
    /// Given to the holder of the cursor that this client took over.
    inherited: HashSet<Value>,
    /// Between the confirmed and the last sent acknowledgement: may come again, need not.
    pub(super) tolerated: HashSet<Value>,
    first: HashMap<(String, String), u64>,
    last: HashMap<(String, String), u64>,
    /// Entry of the history, and the channels that cannot be given from before it.
    gaps: Vec<(usize, Vec<String>)>,
    pub(super) ack_sent: Option<String>,
    pub(super) ack_confirmed: Option<String>,
    pub(super) drained: Option<usize>,
    /// First arrivals of all lives, for comparing clients.
    pub(super) arrivals: Vec<Value>,
    arrived: HashSet<Value>,
}

impl Follower {
    pub(super) fn has(&self, value: &Value) -> bool {
        self.values.contains(value) || self.inherited.contains(value)
    }

    pub(super) fn repeats(&self, value: &Value, name: &str) -> bool {
        self.inherited.contains(value) || self.known.contains(&(value.clone(), name.to_owned()))
    }

    /// What came on the current line of this client itself.
    pub(super) fn given(&self) -> impl Iterator<Item = &Value> {
        self.values.iter()
    }

    /// Whether a value is owed, was never given, and no gap frame has said so.
    pub(super) fn misses(&self, value: &Value, book: &Book) -> bool {
        book.written.get(value).is_some_and(|written| {
            !self.has(value)
                && !self.tolerated.contains(value)
                && self.owes(written)
                && !self.excused(written)
        })
    }

    pub(super) fn gap(&mut self, entry: usize, channels: &[String]) {
        self.gaps.push((entry, channels.to_vec()));
    }

    /// Starts a new line that holds what `line` lists, newest first.
    pub(super) fn restart<'a>(
        &mut self,
        tip: Option<usize>,
        line: impl Iterator<Item = &'a Given>,
        book: &Book,
        own: bool,
    ) {
        self.tip = tip;
        self.known.clear();
        self.values.clear();
        self.inherited.clear();
        self.forget_order();
        for given in line {
            self.note_order(&given.value, book);
            if own {
                self.values.insert(given.value.clone());
                self.known.insert((given.value.clone(), given.name.clone()));
            } else {
                self.inherited.insert(given.value.clone());
            }
        }
    }

    /// What the holder of a cursor was given of a channel that is joined with it.
    pub(super) fn inherit(&mut self, channel: &String, value: &Value, book: &Book) {
        let written = book.written.get(value);
        if written.is_some_and(|written| written.channels.contains(channel)) {
            self.inherited.insert(value.clone());
            self.note_order(value, book);
        }
    }

    pub(super) fn forget_order(&mut self) {
        self.first.clear();
        self.last.clear();
    }

    /// Takes a delivery into the line.
    pub(super) fn give(&mut self, delivery: usize, value: &Value, name: &str, book: &Book) {
        self.tip = Some(delivery);
        self.known.insert((value.clone(), name.to_owned()));
        self.values.insert(value.clone());
        if self.arrived.insert(value.clone()) {
            self.arrivals.push(value.clone());
        }
        self.note_order(value, book);
    }

    fn note_order(&mut self, value: &Value, book: &Book) {
        let Some(written) = book.written.get(value) else { return };
        let Some(stored) = &written.stored else { return };
        for channel in &written.channels {
            let key = (channel.clone(), stored.stream.clone());
            let first = self.first.entry(key.clone()).or_insert(stored.sequence);
            *first = stored.sequence.min(*first);
            let last = self.last.entry(key).or_insert(stored.sequence);
            *last = stored.sequence.max(*last);
        }
    }

    pub(super) fn last(&self, channel: &str, stream: &str) -> Option<u64> {
        self.last.get(&(channel.to_owned(), stream.to_owned())).copied()
    }

    pub(super) fn common<'a>(&'a self, written: &'a Written) -> impl Iterator<Item = &'a String> {
        written.channels.iter().filter(|channel| self.channels.contains_key(*channel))
    }

    pub(super) fn owes(&self, written: &Written) -> bool {
        self.common(written).any(|channel| self.owed_by(channel, written))
    }

    fn owed_by(&self, channel: &str, written: &Written) -> bool {
        let behind_first = written.stored.as_ref().is_some_and(|stored| {
            let key = (channel.to_owned(), stored.stream.clone());
            self.first.get(&key).is_some_and(|first| stored.sequence > *first)
        });
        behind_first
            || match self.channels.get(channel) {
                None | Some(Base::Asked) => false,
                Some(Base::Everything) => true,
                Some(Base::Since { entry, floors }) => {
                    written.attempted > *entry
                        || written.stored.as_ref().is_some_and(|stored| {
                            floors.get(&stored.stream).is_some_and(|f| stored.sequence > *f)
                        })
                }
            }
    }

    /// Whether a gap frame has said that this will not come, on every channel that owes it.
    pub(super) fn excused(&self, written: &Written) -> bool {
        let answered = written.stored.as_ref().map_or(usize::MAX, |stored| stored.answered);
        self.common(written).filter(|channel| self.owed_by(channel, written)).all(|channel| {
            self.gaps.iter().any(|(entry, channels)| {
                answered < *entry && (channels.is_empty() || channels.contains(channel))
            })
        })
    }
}

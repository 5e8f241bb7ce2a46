//! Goes once through a history and compares every delivery with the book.

use std::collections::{BTreeMap, HashMap};

use super::book::{Book, Written};
use super::closing;
use super::follower::{Base, Follower, Given};
use super::history::{ClientName, Entry, Frame, Start};
use super::value::Value;
use super::verdict::{Verdict, Wrong};

pub(super) fn judge(entries: &[Entry]) -> Verdict {
    let mut judge = Judge { book: Book::of(entries), ..Judge::default() };
    for (at, entry) in entries.iter().enumerate() {
        judge.take(at, entry);
    }
    judge.finish()
}

#[derive(Default)]
struct Judge {
    book: Book,
    followers: BTreeMap<ClientName, Follower>,
    deliveries: Vec<Given>,
    /// Who stood where when it was told a cursor; the same string may have been told to many.
    cursors: HashMap<String, Vec<Told>>,
    verdict: Verdict,
}

#[derive(Clone)]
struct Told {
    client: ClientName,
    tip: Option<usize>,
    entry: usize,
}

impl Judge {
    fn take(&mut self, at: usize, entry: &Entry) {
        match entry {
            Entry::Opened { client, channels, start } => self.open(client, channels, start),
            Entry::Joining { client, channel, start } => {
                self.join(client, channel, start);
            }
            Entry::Following { client, channels } => {
                let follower = self.follower(client);
                for channel in channels {
                    if let Some(base @ Base::Asked) = follower.channels.get_mut(channel) {
                        *base = Base::Since { entry: at, floors: HashMap::new() };
                    }
                }
            }
            Entry::Left { client, channel } => {
                self.follower(client).channels.remove(channel);
            }
            Entry::Frame { client, frame } => {
                if let Some(value) = &frame.value {
                    self.deliver(at, client, value, frame);
                }
                if let Some(cursor) = &frame.cursor {
                    self.told(at, client, cursor);
                }
            }
            Entry::Position { client, cursor } => self.told(at, client, cursor),
            Entry::AckSent { client, cursor } => {
                self.follower(client).ack_sent = Some(cursor.clone());
            }
            Entry::AckConfirmed { client, cursor } => {
                self.follower(client).ack_confirmed = Some(cursor.clone());
            }
            Entry::Gap { client, channels, .. } => {
                self.verdict.gaps += 1;
                self.follower(client).gap(at, channels);
            }
            Entry::Drained { client } => self.follower(client).drained = Some(at),
            Entry::Attempt { .. }
            | Entry::Stored { .. }
            | Entry::Refused { .. }
            | Entry::Unanswered { .. }
            | Entry::Closed { .. }
            | Entry::Fault { .. } => {}
        }
    }

    fn follower(&mut self, client: &ClientName) -> &mut Follower {
        self.followers.entry(client.clone()).or_default()
    }

    fn told(&mut self, entry: usize, client: &ClientName, cursor: &str) {
        let tip = self.follower(client).tip;
        let told = Told { client: client.clone(), tip, entry };
        self.cursors.entry(cursor.to_owned()).or_default().push(told);
    }

    /// Where a cursor was told: to this client if it was, else to any.
    fn find(&self, client: &ClientName, cursor: &str) -> Option<Told> {
        let told = self.cursors.get(cursor)?;
        told.iter().rev().find(|told| told.client == *client).or(told.last()).cloned()
    }

    fn line(&self, tip: Option<usize>) -> impl Iterator<Item = &Given> {
        let first = tip.map(|tip| &self.deliveries[tip]);
        std::iter::successors(first, |given| given.before.map(|at| &self.deliveries[at]))
    }

    fn open(&mut self, client: &ClientName, channels: &[String], start: &Start) {
        let bases: Vec<_> = channels
            .iter()
            .map(|channel| (channel.clone(), self.resumed_base(client, channel, start)))
            .collect();
        let mut follower = self.followers.remove(client).unwrap_or_default();
        follower.drained = None;
        match start {
            Start::Now => follower.forget_order(),
            Start::Earliest => follower.restart(None, std::iter::empty(), &self.book, true),
            Start::Cursor(cursor) => self.rewind(&mut follower, client, cursor),
            Start::Acknowledged => self.rewind_to_ack(&mut follower, client),
        }
        follower.channels = bases.into_iter().collect();
        self.followers.insert(client.clone(), follower);
    }

    fn join(&mut self, client: &ClientName, channel: &String, start: &Start) {
        let base = self.base(client, channel, start);
        let mut follower = self.followers.remove(client).unwrap_or_default();
        follower.channels.insert(channel.clone(), base);
        if let Start::Cursor(cursor) = start
            && let Some(told) = self.find(client, cursor)
            && told.client != *client
        {
            for given in self.line(told.tip) {
                follower.inherit(channel, &given.value, &self.book);
            }
        }
        self.followers.insert(client.clone(), follower);
    }

    fn rewind(&self, follower: &mut Follower, client: &ClientName, cursor: &str) {
        if let Some(told) = self.find(client, cursor) {
            let own = told.client == *client;
            follower.restart(told.tip, self.line(told.tip), &self.book, own);
        }
    }

    fn rewind_to_ack(&self, follower: &mut Follower, client: &ClientName) {
        let sent = follower.ack_sent.clone().and_then(|cursor| self.find(client, &cursor));
        let sent = sent.map(|told| told.tip).unwrap_or_default();
        if let Some(confirmed) = follower.ack_confirmed.clone() {
            self.rewind(follower, client, &confirmed);
        }
        let maybe = self.line(sent).map(|given| &given.value);
        follower.tolerated = maybe.filter(|value| !follower.has(value)).cloned().collect();
    }

    /// A resumed connection keeps what its channels owed it; a channel it did not hold is owed from the cursor on.
    fn resumed_base(&self, client: &ClientName, channel: &String, start: &Start) -> Base {
        let holder = match start {
            Start::Cursor(cursor) => self.find(client, cursor).map(|told| told.client),
            Start::Acknowledged => Some(client.clone()),
            Start::Now | Start::Earliest => None,
        };
        let held = holder
            .and_then(|holder| self.followers.get(&holder))
            .and_then(|follower| follower.channels.get(channel));
        held.cloned().unwrap_or_else(|| self.base(client, channel, start))
    }

    fn base(&self, client: &ClientName, channel: &str, start: &Start) -> Base {
        match start {
            Start::Now | Start::Acknowledged => Base::Asked,
            Start::Earliest => Base::Everything,
            Start::Cursor(cursor) => match self.find(client, cursor) {
                None => Base::Asked,
                Some(told) => {
                    Base::Since { entry: told.entry, floors: self.floors(channel, told.tip) }
                }
            },
        }
    }

    /// How far a line has come in each stream of a channel.
    fn floors(&self, channel: &str, tip: Option<usize>) -> HashMap<String, u64> {
        let mut floors = HashMap::new();
        for given in self.line(tip) {
            let written = self.book.written.get(&given.value);
            let stored = written
                .filter(|written| written.channels.iter().any(|name| name == channel))
                .and_then(|written| written.stored.as_ref());
            if let Some(stored) = stored {
                let floor = floors.entry(stored.stream.clone()).or_insert(stored.sequence);
                *floor = stored.sequence.max(*floor);
            }
        }
        floors
    }

    fn deliver(&mut self, at: usize, client: &ClientName, value: &Value, frame: &Frame) {
        self.verdict.frames += 1;
        let wrong = |detail: String| Wrong { client: client.clone(), value: value.clone(), detail };
        let mut follower = self.followers.remove(client).unwrap_or_default();
        match self.book.written.get_mut(value) {
            None => self.verdict.unexpected.push(wrong("never attempted".to_owned())),
            Some(written) => {
                written.read.get_or_insert(at);
                if let Some(why) = surprise(&follower, written, frame) {
                    self.verdict.unexpected.push(wrong(why));
                }
                if follower.tolerated.remove(value) {
                    // Comes again because the acknowledgement was not confirmed.
                } else if follower.repeats(value, &frame.name) {
                    self.verdict.duplicates.push(wrong(format!("as {}", frame.name)));
                } else if !follower.has(value) {
                    self.check_order(&follower, client, value);
                }
            }
        }
        let before = follower.tip;
        let (value, name) = (value.clone(), frame.name.clone());
        follower.give(self.deliveries.len(), &value, &name, &self.book);
        self.deliveries.push(Given { before, value, name });
        self.followers.insert(client.clone(), follower);
    }

    fn check_order(&mut self, follower: &Follower, client: &ClientName, value: &Value) {
        let Some(written) = self.book.written.get(value) else { return };
        let Some(stored) = &written.stored else { return };
        for channel in follower.common(written) {
            let last = follower.last(channel, &stored.stream);
            if last.is_some_and(|last| last >= stored.sequence) {
                let detail = format!("{} {} came after {last:?}", stored.stream, stored.sequence);
                let (client, value) = (client.clone(), value.clone());
                self.verdict.disorder.push(Wrong { client, value, detail });
                continue;
            }
            let skipped =
                self.book.between(channel, &stored.stream, last.unwrap_or(0), stored.sequence);
            for (sequence, missing) in skipped {
                if follower.misses(missing, &self.book) {
                    let detail = format!("{} {sequence}, then came {value}", stored.stream);
                    let (client, value) = (client.clone(), missing.clone());
                    self.verdict.silent_gaps.push(Wrong { client, value, detail });
                }
            }
        }
    }

    fn finish(mut self) -> Verdict {
        closing::close(&self.book, &self.followers, &mut self.verdict);
        self.verdict
    }
}

fn surprise(follower: &Follower, written: &Written, frame: &Frame) -> Option<String> {
    if written.refused && written.stored.is_none() {
        Some("was refused".to_owned())
    } else if written.payload.is_some_and(|payload| payload != frame.payload) {
        Some("was changed".to_owned())
    } else if follower.common(written).next().is_none() {
        Some(format!("belongs to {:?}", written.channels))
    } else {
        None
    }
}

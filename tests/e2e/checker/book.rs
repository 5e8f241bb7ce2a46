//! What publishers attempted and were told: the reference that deliveries are compared with.

use std::collections::{BTreeMap, HashMap};

use super::history::Entry;
use super::value::Value;
use super::verdict::Verdict;

#[derive(Default)]
pub(super) struct Written {
    /// Index of the first attempt in the history.
    pub(super) attempted: usize,
    pub(super) attempts: usize,
    pub(super) channels: Vec<String>,
    pub(super) payload: Option<u64>,
    pub(super) stored: Option<Stored>,
    pub(super) refused: bool,
    /// Index of the first delivery in the history.
    pub(super) read: Option<usize>,
}

pub(super) struct Stored {
    pub(super) stream: String,
    pub(super) sequence: u64,
    /// Index of the first answer in the history.
    pub(super) answered: usize,
}

#[derive(Default)]
pub(super) struct Book {
    pub(super) written: HashMap<Value, Written>,
    /// Channel and stream to its stored values in the log's order.
    series: HashMap<(String, String), BTreeMap<u64, Value>>,
    stored_twice: Vec<Value>,
}

impl Book {
    pub(super) fn of(entries: &[Entry]) -> Self {
        let mut book = Self::default();
        for (at, entry) in entries.iter().enumerate() {
            book.take(at, entry);
        }
        for (value, written) in &book.written {
            let Some(stored) = &written.stored else { continue };
            for channel in &written.channels {
                let key = (channel.clone(), stored.stream.clone());
                book.series.entry(key).or_default().insert(stored.sequence, value.clone());
            }
        }
        book
    }

    fn take(&mut self, at: usize, entry: &Entry) {
        match entry {
            Entry::Attempt { value, channels, payload } => {
                let written = self.written.entry(value.clone()).or_default();
                if written.attempts == 0 {
                    written.attempted = at;
                    written.channels.clone_from(channels);
                    written.payload = *payload;
                }
                written.attempts += 1;
            }
            Entry::Stored { value, stream, sequence, duplicate } => {
                let written = self.written.entry(value.clone()).or_default();
                match &written.stored {
                    None => {
                        let stream = stream.clone();
                        written.stored = Some(Stored { stream, sequence: *sequence, answered: at });
                    }
                    // A second "stored now", or another place than before.
                    Some(stored)
                        if !duplicate
                            || stored.sequence != *sequence
                            || stored.stream != *stream =>
                    {
                        self.stored_twice.push(value.clone());
                    }
                    Some(_) => {}
                }
            }
            Entry::Refused { value } => {
                self.written.entry(value.clone()).or_default().refused = true;
            }
            _ => {}
        }
    }

    /// The stored values of a channel and stream strictly between two sequences, in the log's order.
    pub(super) fn between(
        &self,
        channel: &str,
        stream: &str,
        after: u64,
        before: u64,
    ) -> impl Iterator<Item = (u64, &Value)> {
        let series = self.series.get(&(channel.to_owned(), stream.to_owned()));
        series.into_iter().flat_map(move |series| {
            series
                .range(after.saturating_add(1)..before.max(after.saturating_add(1)))
                .map(|(sequence, value)| (*sequence, value))
        })
    }

    /// What can be said without looking at any client.
    pub(super) fn report(&self, verdict: &mut Verdict) {
        verdict.stored_twice.clone_from(&self.stored_twice);
        for written in self.written.values().filter(|w| w.stored.is_none() && !w.refused) {
            if written.read.is_some() {
                verdict.recovered += 1;
            } else {
                verdict.unknown += 1;
            }
        }
        self.check_publishers(verdict);
    }

    /// A writer waits for each answer before its next value, so the log must have them in this order.
    /// Values that needed a second attempt may have been stored by either.
    fn check_publishers(&self, verdict: &mut Verdict) {
        let mut last: HashMap<(&str, &str), (u64, usize)> = HashMap::new();
        let mut values: Vec<_> = self.written.iter().filter(|(_, w)| w.attempts == 1).collect();
        values.sort_by_key(|(value, _)| *value);
        for (value, written) in values {
            let Some(stored) = &written.stored else { continue };
            let key = (&*value.writer, &*stored.stream);
            if let Some(&(sequence, answered)) = last.get(&key)
                && answered < written.attempted
                && stored.sequence <= sequence
            {
                verdict.publisher_order.push(value.clone());
            }
            last.insert(key, (stored.sequence, stored.answered));
        }
    }
}

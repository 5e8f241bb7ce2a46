//! What happened, in the order in which the test's side of the sockets saw it.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::judge::judge;
use super::value::Value;
use super::verdict::Verdict;

/// One who follows, over any number of connections; its memory is its last cursor.
pub(crate) type ClientName = Arc<str>;

/// From where a connection or a join asks to be served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Start {
    Now,
    Earliest,
    /// Right after the event whose frame carried this cursor.
    Cursor(String),
    /// Where the device's acknowledgement stands.
    Acknowledged,
}

#[derive(Clone, Debug)]
#[expect(dead_code, reason = "some fields are there to be told when a test fails")]
pub(crate) enum Entry {
    /// A publisher is about to write; `payload` is the [`super::hash`] of what shall be delivered, where it is known.
    Attempt {
        value: Value,
        channels: Vec<String>,
        payload: Option<u64>,
    },
    /// The platform said: stored there.
    Stored {
        value: Value,
        stream: String,
        sequence: u64,
        duplicate: bool,
    },
    /// The platform said no, for good.
    Refused {
        value: Value,
    },
    /// No answer, or one that says "perhaps".
    Unanswered {
        value: Value,
    },
    /// A client asks for channels. For a connection that resumes these are all that it holds.
    Opened {
        client: ClientName,
        channels: Vec<String>,
        start: Start,
    },
    /// One more channel on an open connection.
    Joining {
        client: ClientName,
        channel: String,
        start: Start,
    },
    /// The platform confirmed: from here on the channels are followed.
    Following {
        client: ClientName,
        channels: Vec<String>,
    },
    Left {
        client: ClientName,
        channel: String,
    },
    Frame {
        client: ClientName,
        frame: Frame,
    },
    /// The client was told its position without an event (a heartbeat, a page's end).
    Position {
        client: ClientName,
        cursor: String,
    },
    /// The client acknowledged up to this cursor.
    AckSent {
        client: ClientName,
        cursor: String,
    },
    /// The platform confirmed it.
    AckConfirmed {
        client: ClientName,
        cursor: String,
    },
    Gap {
        client: ClientName,
        channels: Vec<String>,
        reason: String,
    },
    Closed {
        client: ClientName,
        why: String,
    },
    /// The client has read until nothing more was due: what is missing now is lost.
    Drained {
        client: ClientName,
    },
    /// Something was broken on purpose.
    Fault {
        what: String,
    },
}

/// A delivered event.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "some fields are there to be told when a test fails")]
pub(crate) struct Frame {
    /// The event's name on the wire; a member of two channels may get one event under two names.
    pub(crate) name: String,
    pub(crate) event_id: Option<String>,
    pub(crate) cursor: Option<String>,
    /// `None`: not a judged event (ephemeral, or none of the test's).
    pub(crate) value: Option<Value>,
    pub(crate) payload: u64,
}

/// Shared by all publishers and clients of a test.
#[derive(Clone)]
pub(crate) struct History {
    began: Instant,
    entries: Arc<Mutex<Vec<(u128, Entry)>>>,
}

impl History {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), entries: Arc::default() }
    }

    pub(crate) fn record(&self, entry: Entry) {
        let at = self.began.elapsed().as_micros();
        self.entries.lock().unwrap().push((at, entry));
    }

    pub(crate) fn fault(&self, what: impl Into<String>) {
        self.record(Entry::Fault { what: what.into() });
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap().iter().map(|(_, entry)| entry.clone()).collect()
    }

    pub(crate) fn judge(&self) -> Verdict {
        judge(&self.entries())
    }

    /// Fails the test, with the last moments of the history, unless everything was delivered as promised.
    #[track_caller]
    pub(crate) fn assert_clean(&self) -> Verdict {
        let verdict = self.judge();
        if !verdict.is_clean() {
            let entries = self.entries.lock().unwrap();
            let quiet = entries.iter().filter(|(_, entry)| !is_traffic(entry));
            let told: Vec<String> =
                quiet.map(|(at, entry)| format!("{:>9} ms {entry:?}", at / 1000)).collect();
            panic!("{verdict}\nwithout the traffic:\n{}", told.join("\n"));
        }
        verdict
    }
}

fn is_traffic(entry: &Entry) -> bool {
    matches!(
        entry,
        Entry::Attempt { .. }
            | Entry::Stored { .. }
            | Entry::Frame { .. }
            | Entry::AckSent { .. }
            | Entry::AckConfirmed { .. }
    )
}

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

    /// Whether something would be lost if the client had read to the end now, as far as its own story tells.
    pub(crate) fn awaits(&self, client: &ClientName) -> bool {
        let is_its = |entry: &&Entry| client_of(entry).is_none_or(|of| of == client);
        let all = self.entries.lock().unwrap();
        let mut entries: Vec<_> =
            all.iter().map(|(_, entry)| entry).filter(is_its).cloned().collect();
        drop(all);
        entries.push(Entry::Drained { client: client.clone() });
        judge(&entries).lost.iter().any(|lost| lost.client == *client)
    }

    /// Fails the test, with the last moments of the history, unless everything was delivered as promised.
    #[track_caller]
    pub(crate) fn assert_clean(&self) -> Verdict {
        let verdict = self.judge();
        if !verdict.is_clean() {
            let story = verdict.first_victim().map(|client| self.story(&client));
            panic!("{verdict}\n{}", story.unwrap_or_default());
        }
        verdict
    }

    /// What one client saw, a line each, with the faults in between.
    fn story(&self, of: &ClientName) -> String {
        let entries = self.entries.lock().unwrap();
        let lines = entries.iter().filter_map(|(at, entry)| {
            let (client, told) = told(entry)?;
            let is_its = client.is_none_or(|client| client == of);
            is_its.then(|| format!("{:>8} ms {told}", at / 1000))
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

fn client_of(entry: &Entry) -> Option<&ClientName> {
    match entry {
        Entry::Attempt { .. }
        | Entry::Stored { .. }
        | Entry::Refused { .. }
        | Entry::Unanswered { .. }
        | Entry::Fault { .. } => None,
        Entry::Opened { client, .. }
        | Entry::Joining { client, .. }
        | Entry::Following { client, .. }
        | Entry::Left { client, .. }
        | Entry::Frame { client, .. }
        | Entry::Position { client, .. }
        | Entry::AckSent { client, .. }
        | Entry::AckConfirmed { client, .. }
        | Entry::Gap { client, .. }
        | Entry::Closed { client, .. }
        | Entry::Drained { client } => Some(client),
    }
}

/// Whose entry it is and what it says; cursors by their end, which tells them apart.
fn told(entry: &Entry) -> Option<(Option<&ClientName>, String)> {
    let end = |cursor: &str| cursor[cursor.len().saturating_sub(8)..].to_owned();
    let start = |start: &Start| match start {
        Start::Cursor(cursor) => format!("after {}", end(cursor)),
        Start::Now | Start::Earliest | Start::Acknowledged => format!("{start:?}"),
    };
    let (client, told) = match entry {
        Entry::Attempt { .. } | Entry::Stored { .. } => return None,
        Entry::Refused { .. } | Entry::Unanswered { .. } => return None,
        Entry::Fault { what } => return Some((None, format!("FAULT {what}"))),
        Entry::Opened { client, channels, start: from } => {
            (client, format!("opened {} {}", start(from), channels.join(" ")))
        }
        Entry::Joining { client, channel, start: from } => {
            (client, format!("joining {channel} {}", start(from)))
        }
        Entry::Following { client, channels } => (client, format!("following {channels:?}")),
        Entry::Left { client, channel } => (client, format!("left {channel}")),
        Entry::Frame { client, frame } => {
            let cursor = frame.cursor.as_deref().map(end).unwrap_or_default();
            (client, format!("  {cursor} {:?} {}", frame.value, frame.name))
        }
        Entry::Position { client, cursor } => (client, format!("  {} position", end(cursor))),
        Entry::AckSent { client, cursor } => (client, format!("acknowledges {}", end(cursor))),
        Entry::AckConfirmed { client, cursor } => (client, format!("confirmed {}", end(cursor))),
        Entry::Gap { client, channels, reason } => (client, format!("GAP {reason} {channels:?}")),
        Entry::Closed { client, why } => (client, format!("closed {why}")),
        Entry::Drained { client } => (client, "drained".to_owned()),
    };
    Some((Some(client), told))
}

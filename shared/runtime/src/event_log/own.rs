//! What this process has appended lately, by stream and sequence, for followers that need not read it back.
//!
//! Nobody may rely on finding anything here: what is not found is read from the stream.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::outgoing::Outgoing;
use crate::clock;
use crate::log_message::LogMessage;

/// Appends of one stream that are kept; more than a busy second's would only help followers that are behind anyway.
const KEPT: usize = 8_192;

struct Own {
    message: Arc<Outgoing>,
    acknowledged_at: i64,
}

/// By stream, those that are followed.
#[derive(Default)]
pub(super) struct OwnAppends(Mutex<HashMap<String, BTreeMap<u64, Own>>>);

impl OwnAppends {
    /// From now on, what is appended to the stream is kept.
    pub(super) fn watch(&self, stream: &str) {
        self.lock().entry(stream.to_owned()).or_default();
    }

    pub(super) fn acknowledged(&self, stream: &str, sequence: u64, message: &Arc<Outgoing>) {
        let mut streams = self.lock();
        let Some(kept) = streams.get_mut(stream) else { return };
        let own = Own { message: message.clone(), acknowledged_at: clock::unix_millis() };
        kept.insert(sequence, own);
        if kept.len() > KEPT {
            kept.pop_first();
        }
    }

    /// The appends behind a sequence, up to another one that they may leave out.
    pub(super) fn between(&self, stream: &str, after: u64, upto: u64) -> Vec<LogMessage> {
        let streams = self.lock();
        let Some(kept) = streams.get(stream) else { return Vec::new() };
        kept.range(after + 1..=upto.max(after + 1))
            .filter(|(sequence, _)| **sequence <= upto)
            .map(|(&sequence, own)| told(sequence, own))
            .collect()
    }

    /// The appends right behind a sequence, without a hole.
    pub(super) fn successors(&self, stream: &str, after: u64) -> Vec<LogMessage> {
        let streams = self.lock();
        let Some(kept) = streams.get(stream) else { return Vec::new() };
        let behind = kept.range(after + 1..).zip(after + 1..);
        let unbroken = behind.take_while(|((sequence, _), expected)| *sequence == expected);
        unbroken.map(|((&sequence, own), _)| told(sequence, own)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, BTreeMap<u64, Own>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As it would be read, but for its payload; its time is the acknowledgement's.
fn told(sequence: u64, own: &Own) -> LogMessage {
    LogMessage {
        subject: own.message.subject.clone(),
        sequence,
        stored_at: own.acknowledged_at,
        headers: own.message.lines(),
        payload: Bytes::new(),
    }
}

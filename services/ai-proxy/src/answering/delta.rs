//! An answer on its way to who listens: pieces with offsets, and now and then everything so far for who came later.
//!
//! Pure: time is handed in. Offsets count as JavaScript counts a string's length.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

/// Pieces that come closer together go in one event.
const EVERY: Duration = Duration::from_millis(40);
/// One event in this time from all answers together, 10,000 a second: with more answers each has larger pieces, and
/// the instance keeps up.
const SHARE: Duration = Duration::from_micros(100);
/// How long who comes in the middle waits for the text so far, about.
const WHOLE_EVERY: Duration = Duration::from_millis(1000);

/// How far apart pieces of one answer are while so many are being written.
pub(crate) fn pace(answers: i64) -> Duration {
    EVERY.max(SHARE * u32::try_from(answers).unwrap_or(0))
}

pub(crate) struct Deltas {
    conversation: String,
    message: String,
    attempt: u32,
    text: String,
    /// Bytes that were sent, and their length in UTF-16.
    sent: usize,
    offset: usize,
    index: u32,
    next: Instant,
    next_whole: Instant,
}

impl Deltas {
    pub(crate) fn new(conversation: &str, message: &str, attempt: u32, now: Instant) -> Self {
        Self {
            conversation: conversation.to_owned(),
            message: message.to_owned(),
            attempt,
            text: String::new(),
            sent: 0,
            offset: 0,
            index: 0,
            next: now,
            next_whole: now + WHOLE_EVERY,
        }
    }

    pub(crate) fn push(&mut self, piece: &str) {
        self.text.push_str(piece);
    }

    /// All so far.
    pub(crate) fn into_text(self) -> String {
        self.text
    }

    pub(crate) fn is_begun(&self) -> bool {
        !self.text.is_empty()
    }

    /// When there is something to send, be it for who came in a pause; `None` before the first piece.
    pub(crate) fn due(&self) -> Option<Instant> {
        match self.text.len() {
            0 => None,
            length if length > self.sent => Some(self.next),
            _ => Some(self.next_whole),
        }
    }

    /// The answer is whole: what is left need not wait.
    pub(crate) fn hurry(&mut self, now: Instant) {
        self.next = now;
    }

    /// What is to be sent now, if anything; the next one comes `pace` later.
    pub(crate) fn take(&mut self, now: Instant, pace: Duration) -> Option<Value> {
        if self.due().is_none_or(|due| due > now) {
            return None;
        }
        self.next = now + pace;
        let is_late = now >= self.next_whole;
        let from = if is_late {
            self.next_whole = now + WHOLE_EVERY;
            self.offset = 0;
            0
        } else {
            self.sent
        };
        let piece = &self.text[from..];
        let data = json!({
            "conversationId": self.conversation,
            "messageId": self.message,
            "attempt": self.attempt,
            "index": self.index,
            "offset": self.offset,
            "text": piece,
        });
        self.offset += piece.encode_utf16().count();
        (self.sent, self.index) = (self.text.len(), self.index + 1);
        Some(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a client joins them: a whole one replaces, a piece is put behind its offset, a gap waits for a whole one.
    fn join(text: &mut Vec<u16>, delta: &Value) {
        let offset = delta["offset"].as_u64().unwrap() as usize;
        if offset <= text.len() {
            text.truncate(offset);
            text.extend(delta["text"].as_str().unwrap().encode_utf16());
        }
    }

    #[test]
    fn pieces_join_whatever_their_letters() {
        let begin = Instant::now();
        let mut deltas = Deltas::new("c", "m", 1, begin);
        let mut text = Vec::new();
        for (at, piece) in ["Grüße ", "😀 ", "und ", "mehr"].into_iter().enumerate() {
            deltas.push(piece);
            join(&mut text, &deltas.take(begin + EVERY * at as u32, EVERY).unwrap());
        }
        assert_eq!(String::from_utf16(&text).unwrap(), "Grüße 😀 und mehr");
    }

    #[test]
    fn the_first_piece_goes_at_once_and_the_next_together() {
        let begin = Instant::now();
        let mut deltas = Deltas::new("c", "m", 1, begin);
        deltas.push("a");
        assert_eq!(deltas.take(begin, EVERY).unwrap()["text"], "a");
        deltas.push("b");
        deltas.push("c");
        assert_eq!(deltas.take(begin, EVERY), None);
        assert_eq!(deltas.due(), Some(begin + EVERY));
        let data = deltas.take(begin + EVERY, EVERY).unwrap();
        assert_eq!(
            (&data["text"], &data["offset"], &data["index"]),
            (&json!("bc"), &json!(1), &json!(1))
        );
        assert_eq!(deltas.due(), Some(begin + WHOLE_EVERY), "then only for who comes later");
        assert_eq!(deltas.take(begin + WHOLE_EVERY, EVERY).unwrap()["text"], "abc");
    }

    #[test]
    fn many_answers_at_one_time_have_larger_pieces_and_none_waits_with_its_first() {
        assert_eq!((pace(0), pace(400)), (EVERY, EVERY));
        let (begin, slow) = (Instant::now(), pace(1_000));
        let mut deltas = Deltas::new("c", "m", 1, begin);
        deltas.push("a");
        assert_eq!(deltas.take(begin, slow).unwrap()["text"], "a");
        deltas.push("b");
        assert_eq!(deltas.take(begin + EVERY, slow), None);
        deltas.push("c");
        assert_eq!(deltas.take(begin + SHARE * 1_000, slow).unwrap()["text"], "bc");
    }

    #[test]
    fn who_comes_in_the_middle_soon_has_all() {
        let begin = Instant::now();
        let mut deltas = Deltas::new("c", "m", 1, begin);
        let mut late = Vec::new();
        for at in 0..40u32 {
            deltas.push("ab ");
            let delta = deltas.take(begin + EVERY * at, EVERY);
            if at >= 10 {
                join(&mut late, &delta.unwrap());
            }
        }
        assert_eq!(String::from_utf16(&late).unwrap(), "ab ".repeat(40));
    }
}

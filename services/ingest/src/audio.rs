//! Takes the audio out of an ElevenLabs post-call body while it streams by.
//!
//! Pure. The body is JSON with one string, `data.full_audio`, that may be tens of megabytes of base64.
//! [`Splitter`] hands that string out as decoded bytes and keeps the rest, in which the string is empty,
//! so that neither is ever whole in memory.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The key whose string is taken out.
const KEY: &[u8] = b"full_audio";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Between strings.
    Outside,
    /// In a string; the flag says that the byte before was a backslash.
    Text { escaped: bool },
    /// Behind the key, before its value.
    BehindKey,
    /// In the string that is taken out.
    Audio,
}

#[derive(Debug)]
pub(crate) struct Splitter {
    state: State,
    /// Everything but the audio.
    rest: Vec<u8>,
    /// Where the string that is being read or was read last begins in `rest`, behind its quote.
    text_at: usize,
    /// Base64 that does not fill a group of four yet.
    pending: Vec<u8>,
    found: bool,
    length: usize,
    limits: Limits,
}

/// The most bytes of a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Audio included.
    pub(crate) whole: usize,
    pub(crate) without_audio: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the body is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("full_audio is not base64")]
    NotBase64,
}

impl Splitter {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            state: State::Outside,
            rest: Vec::new(),
            text_at: 0,
            pending: Vec::new(),
            found: false,
            length: 0,
            limits,
        }
    }

    /// Takes the next piece of the body; returns the audio bytes it brought.
    pub(crate) fn feed(&mut self, mut piece: &[u8]) -> Result<Vec<u8>, Refused> {
        self.length += piece.len();
        if self.length > self.limits.whole {
            return Err(Refused::TooLarge { limit: self.limits.whole });
        }
        let mut audio = Vec::new();
        while let Some((&byte, behind)) = piece.split_first() {
            if self.state != State::Audio {
                self.step(byte)?;
                piece = behind;
                continue;
            }
            // Base64 holds neither quotes nor escapes, but JSON may write its slash as `\/`.
            let end = piece.iter().position(|b| *b == b'"').unwrap_or(piece.len());
            self.pending.extend(piece[..end].iter().filter(|b| **b != b'\\'));
            self.decode(&mut audio, end < piece.len())?;
            if end < piece.len() {
                self.keep(b'"')?;
                self.state = State::Outside;
                piece = &piece[end + 1..];
            } else {
                piece = &[];
            }
        }
        Ok(audio)
    }

    /// The body without its audio, and whether it had any.
    pub(crate) fn finish(self) -> (Vec<u8>, bool) {
        (self.rest, self.found)
    }

    fn step(&mut self, byte: u8) -> Result<(), Refused> {
        self.keep(byte)?;
        self.state = match (self.state, byte) {
            (State::Text { escaped: false }, b'\\') => State::Text { escaped: true },
            (State::Text { escaped: false }, b'"') => self.after_text(),
            (State::Text { .. }, _) => State::Text { escaped: false },
            (State::BehindKey, b':' | b' ' | b'\t' | b'\r' | b'\n') => State::BehindKey,
            (State::BehindKey, b'"') if self.follows_colon() && !self.found => {
                self.found = true;
                State::Audio
            }
            (_, b'"') => {
                self.text_at = self.rest.len();
                State::Text { escaped: false }
            }
            _ => State::Outside,
        };
        Ok(())
    }

    fn after_text(&self) -> State {
        let text = &self.rest[self.text_at..self.rest.len() - 1];
        if text == KEY { State::BehindKey } else { State::Outside }
    }

    /// Whether the text was a key: a value called `full_audio` is followed by a comma or a bracket.
    fn follows_colon(&self) -> bool {
        let before = self.rest[..self.rest.len() - 1].trim_ascii_end();
        before.ends_with(b":")
    }

    fn decode(&mut self, audio: &mut Vec<u8>, last: bool) -> Result<(), Refused> {
        let whole = if last { self.pending.len() } else { self.pending.len() / 4 * 4 };
        let refused = |_| Refused::NotBase64;
        STANDARD.decode_vec(&self.pending[..whole], audio).map_err(refused)?;
        self.pending.drain(..whole);
        Ok(())
    }

    fn keep(&mut self, byte: u8) -> Result<(), Refused> {
        let limit = self.limits.without_audio;
        if self.rest.len() >= limit {
            return Err(Refused::TooLarge { limit });
        }
        self.rest.push(byte);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `body` in pieces of `size`; gives the rest and the audio.
    fn split(body: &str, size: usize) -> Result<(String, Option<Vec<u8>>), Refused> {
        let mut splitter = Splitter::new(Limits { whole: 2_000, without_audio: 1_000 });
        let mut audio = Vec::new();
        for piece in body.as_bytes().chunks(size) {
            audio.extend(splitter.feed(piece)?);
        }
        let (rest, found) = splitter.finish();
        Ok((String::from_utf8(rest).unwrap(), found.then_some(audio)))
    }

    #[test]
    fn the_audio_is_taken_out_wherever_the_pieces_are_cut() {
        let encoded = STANDARD.encode([251, 255, 190].repeat(70)).replace('/', "\\/");
        let body = format!(
            r#"{{"type":"post_call_audio","data":{{"x":"full_audio","full_audio" : "{encoded}","y":"a\"b"}}}}"#
        );
        let rest = body.replace(&encoded, "");
        for size in 1..body.len() {
            let (left, audio) = split(&body, size).unwrap();
            assert_eq!(left, rest, "{size}");
            assert_eq!(audio.unwrap(), [251, 255, 190].repeat(70), "{size}");
        }
    }

    #[test]
    fn a_body_without_audio_stays_as_it_is() {
        let body = r#"{"a":"\\","full":"full_audio","list":["full_audio","x"],"full_audio":null}"#;
        assert_eq!(split(body, 3).unwrap(), (body.to_owned(), None));
    }

    #[test]
    fn what_is_no_base64_and_what_is_too_large_is_refused() {
        assert_eq!(split(r#"{"full_audio":"a!!b"}"#, 9), Err(Refused::NotBase64));
        assert_eq!(split(r#"{"full_audio":"YWJ"}"#, 9), Err(Refused::NotBase64));
        assert_eq!(split(&"x".repeat(1_001), 100), Err(Refused::TooLarge { limit: 1_000 }));
        let long = format!(r#"{{"full_audio":"{}"}}"#, "YWJj".repeat(500));
        assert_eq!(split(&long, 100), Err(Refused::TooLarge { limit: 2_000 }));
    }
}

//! Server-sent events out of bytes, whatever the pieces they arrive in. Only `data` matters here.
//!
//! Pure. It must not know what the data means.

use std::collections::VecDeque;

/// The longest line; an answer is made of short ones.
const MAX_LINE: usize = 256 * 1024;

#[derive(Default)]
pub(super) struct Sse {
    line: Vec<u8>,
    /// The line before ended with CR, whose LF may be the next byte.
    after_cr: bool,
    data: Option<Vec<u8>>,
    begun: bool,
    events: VecDeque<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Broken {
    TooLong,
    NotText,
}

impl Sse {
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), Broken> {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr) {
                bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let text = &bytes[..end.unwrap_or(bytes.len())];
            if self.line.len() + text.len() > MAX_LINE {
                return Err(Broken::TooLong);
            }
            self.line.extend_from_slice(text);
            let Some(end) = end else { break };
            self.after_cr = bytes[end] == b'\r';
            self.end_line()?;
            bytes = &bytes[end + 1..];
        }
        Ok(())
    }

    /// The data of the oldest event that is complete.
    pub(super) fn next(&mut self) -> Option<String> {
        self.events.pop_front()
    }

    /// What the body ended with where it left out the line that ends an event.
    pub(super) fn end(&mut self) -> Option<String> {
        self.end_line().ok()?;
        self.next().or_else(|| String::from_utf8(self.data.take()?).ok())
    }

    fn end_line(&mut self) -> Result<(), Broken> {
        let mut line = &self.line[..];
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
        }
        if line.is_empty() {
            if let Some(data) = self.data.take() {
                self.events.push_back(String::from_utf8(data).map_err(|_| Broken::NotText)?);
            }
        } else if let Some(value) = line.strip_prefix(b"data:") {
            let value = value.strip_prefix(b" ").unwrap_or(value);
            match &mut self.data {
                Some(data) if data.len() + value.len() >= MAX_LINE => return Err(Broken::TooLong),
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => self.data = Some(value.to_vec()),
            }
        }
        // Comments begin with a colon; other fields say nothing that is needed here.
        self.line.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pieces: &[&[u8]]) -> Vec<String> {
        let mut sse = Sse::default();
        for piece in pieces {
            sse.push(piece).unwrap();
        }
        std::iter::from_fn(|| sse.next()).collect()
    }

    #[test]
    fn an_event_may_come_byte_by_byte_and_with_any_line_end() {
        for text in
            ["data: a\n\ndata:b\n\n", "data: a\r\n\r\ndata:b\r\n\r\n", "data: a\r\rdata:b\r\r"]
        {
            let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(all(&bytes), ["a", "b"], "{text:?}");
        }
    }

    #[test]
    fn comments_other_fields_and_a_byte_order_mark_say_nothing() {
        let text = "\u{feff}data: a\n: still here\nevent: x\nid: 1\n\n:\n\n";
        assert_eq!(all(&[text.as_bytes()]), ["a"]);
    }

    #[test]
    fn data_of_several_lines_is_joined_and_a_cut_character_is_whole_again() {
        let text = "data: ä\ndata: b\n\n".as_bytes();
        assert_eq!(all(&[&text[..7], &text[7..]]), ["ä\nb"]);
    }

    #[test]
    fn an_event_that_is_not_ended_is_none() {
        assert!(all(&[b"data: a\n"]).is_empty());
    }

    #[test]
    fn what_stands_at_the_end_without_an_empty_line_can_still_be_read() {
        for text in ["data: a\n\ndata: [DONE]", "data: a\n\ndata: [DONE]\r\n"] {
            let mut sse = Sse::default();
            sse.push(text.as_bytes()).unwrap();
            assert_eq!(sse.next().as_deref(), Some("a"));
            assert_eq!(sse.end().as_deref(), Some("[DONE]"), "{text:?}");
        }
        assert_eq!(Sse::default().end(), None);
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut sse = Sse::default();
        assert_eq!(sse.push(&vec![b'x'; MAX_LINE + 1]), Err(Broken::TooLong));
    }
}

//! The client protocol of NATS as a pure codec: what the server says, and how a client is written.
//!
//! A message is one copy out of what the socket gave, and its subject, headers and payload are slices of that: whoever
//! keeps one keeps none of its neighbours.

use async_nats::Subject;
use bytes::{Buf as _, Bytes, BytesMut};

use crate::nats::Headers;

/// The longest line; a server's `INFO` names all servers of its cluster.
const LONGEST_LINE: usize = 64 * 1024;
/// Far above the largest message that a server can be configured to take (64 MB).
const LARGEST_MESSAGE: usize = 80 * 1024 * 1024;
const END: &[u8] = b"\r\n";

/// A message as it came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Message {
    pub(crate) subject: Subject,
    pub(crate) reply: Option<Subject>,
    pub(crate) headers: Headers,
    pub(crate) payload: Bytes,
}

/// One thing that the server says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Said {
    Info(Bytes),
    Message(Message),
    Ping,
    Pong,
    Ok,
    Error(String),
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server does not speak the protocol of NATS")]
pub(crate) struct Malformed;

/// What the line of a message says about what follows it.
struct Frame {
    reply: bool,
    headers: usize,
    total: usize,
}

/// Takes the next whole thing off the buffer; `None` until all of it is there.
pub(super) fn take(buffer: &mut BytesMut) -> Result<Option<Said>, Malformed> {
    let Some(end) = memchr::memchr(b'\n', buffer) else {
        return if buffer.len() > LONGEST_LINE { Err(Malformed) } else { Ok(None) };
    };
    let line = buffer[..end].trim_ascii_end();
    match line.iter().position(|byte| *byte == b' ').map_or(line, |space| &line[..space]) {
        b"MSG" => message(buffer, end, false),
        b"HMSG" => message(buffer, end, true),
        b"PING" => Ok(Some(simple(buffer, end, Said::Ping))),
        b"PONG" => Ok(Some(simple(buffer, end, Said::Pong))),
        b"+OK" => Ok(Some(simple(buffer, end, Said::Ok))),
        b"INFO" => {
            let info = Bytes::copy_from_slice(&line[b"INFO ".len().min(line.len())..]);
            Ok(Some(simple(buffer, end, Said::Info(info))))
        }
        b"-ERR" => {
            let text = String::from_utf8_lossy(&line[b"-ERR".len()..]);
            let text = text.trim().trim_matches('\'').to_owned();
            Ok(Some(simple(buffer, end, Said::Error(text))))
        }
        _ => Err(Malformed),
    }
}

fn simple(buffer: &mut BytesMut, end: usize, said: Said) -> Said {
    buffer.advance(end + 1);
    said
}

/// `MSG <subject> <sid> [reply] <bytes>`, or `HMSG … <header bytes> <all bytes>`.
fn message(
    buffer: &mut BytesMut,
    end: usize,
    with_headers: bool,
) -> Result<Option<Said>, Malformed> {
    let frame = Frame::read(&buffer[..end], with_headers)?;
    if buffer.len() < end + 1 + frame.total + END.len() {
        return Ok(None);
    }
    if !buffer[end + 1 + frame.total..].starts_with(END) {
        return Err(Malformed);
    }
    let mut body = Bytes::copy_from_slice(&buffer[..end + 1 + frame.total]);
    buffer.advance(body.len() + END.len());
    let line = body.split_to(end + 1);
    let mut words = words(&line).skip(1);
    let subject = |word: Option<&[u8]>| {
        Subject::from_utf8(line.slice_ref(word.ok_or(Malformed)?)).map_err(|_| Malformed)
    };
    let name = subject(words.next())?;
    let reply = if frame.reply { Some(subject(words.nth(1))?) } else { None };
    let headers = Headers::of_block(body.split_to(frame.headers));
    Ok(Some(Said::Message(Message { subject: name, reply, headers, payload: body })))
}

impl Frame {
    fn read(line: &[u8], with_headers: bool) -> Result<Self, Malformed> {
        let sizes = if with_headers { 2 } else { 1 };
        // The kind, the subject and the number of the subscription come first.
        let count = words(line).count();
        let reply = count == 3 + 1 + sizes;
        if !reply && count != 3 + sizes {
            return Err(Malformed);
        }
        let mut numbers = words(line).skip(count - sizes).map(number);
        let mut next = || numbers.next().flatten().ok_or(Malformed);
        let headers = if with_headers { next()? } else { 0 };
        let total = next()?;
        if headers > total || total > LARGEST_MESSAGE {
            return Err(Malformed);
        }
        Ok(Self { reply, headers, total })
    }
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

fn number(word: &[u8]) -> Option<usize> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// `SUB`, under a number that nobody asks for.
pub(super) fn subscribe(out: &mut BytesMut, subject: &str) {
    for part in [b"SUB ".as_slice(), subject.as_bytes(), b" 1", END] {
        out.extend_from_slice(part);
    }
}

/// `PUB` with a place for the answer.
pub(super) fn publish(out: &mut BytesMut, subject: &str, reply: &str, payload: &[u8]) {
    let size = payload.len().to_string();
    let parts = [
        b"PUB ".as_slice(),
        subject.as_bytes(),
        b" ",
        reply.as_bytes(),
        b" ",
        size.as_bytes(),
        END,
        payload,
        END,
    ];
    for part in parts {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(text: &[u8]) -> Result<Vec<Said>, Malformed> {
        let mut buffer = BytesMut::from(text);
        let mut said = Vec::new();
        while let Some(one) = take(&mut buffer)? {
            said.push(one);
        }
        assert!(buffer.is_empty(), "{buffer:?} is left");
        Ok(said)
    }

    fn message(subject: &str, reply: Option<&str>, block: &'static str, payload: &str) -> Said {
        Said::Message(Message {
            subject: subject.into(),
            reply: reply.map(Into::into),
            headers: Headers::of_block(Bytes::from_static(block.as_bytes())),
            payload: Bytes::copy_from_slice(payload.as_bytes()),
        })
    }

    const STREAM: &[u8] = b"INFO {\"server_id\":\"S\"}\r\n+OK\r\nPING\r\nMSG a.b 1 5\r\nhello\r\n\
        MSG a.b 1 back.7 0\r\n\r\nHMSG a 1 back 22 24\r\nNATS/1.0\r\nce-id: 7\r\n\r\nhi\r\n\
        -ERR 'Stale Connection'\r\nPONG\r\n";

    #[test]
    fn everything_a_server_says_is_understood() {
        let expected = [
            Said::Info(Bytes::from_static(b"{\"server_id\":\"S\"}")),
            Said::Ok,
            Said::Ping,
            message("a.b", None, "", "hello"),
            message("a.b", Some("back.7"), "", ""),
            message("a", Some("back"), "NATS/1.0\r\nce-id: 7\r\n\r\n", "hi"),
            Said::Error("Stale Connection".to_owned()),
            Said::Pong,
        ];
        assert_eq!(all(STREAM).unwrap(), expected);
    }

    #[test]
    fn what_is_no_nats_is_refused() {
        for text in [
            "HTTP/1.1 400 Bad Request\r\n",
            "MSG a 1\r\n",
            "MSG a 1 b c 5\r\n",
            "MSG a 1 many\r\n",
            "MSG a 1 2\r\nhello\r\n",
            "HMSG a 1 9 5\r\nhello\r\n",
            "MSG a 1 99999999999\r\n",
        ] {
            assert_eq!(all(text.as_bytes()), Err(Malformed), "{text:?}");
        }
        let endless = vec![b'a'; LONGEST_LINE + 1];
        assert_eq!(take(&mut BytesMut::from(&endless[..])), Err(Malformed));
    }

    #[test]
    fn a_client_speaks_as_the_protocol_says() {
        let mut out = BytesMut::new();
        subscribe(&mut out, "_INBOX_x.1.*");
        publish(&mut out, "$JS.API.DIRECT.GET.CALLS", "_INBOX_x.1.2", b"{\"seq\":7}");
        assert_eq!(
            out,
            &b"SUB _INBOX_x.1.* 1\r\nPUB $JS.API.DIRECT.GET.CALLS _INBOX_x.1.2 9\r\n{\"seq\":7}\r\n"[..]
        );
    }

    proptest! {
        #[test]
        fn however_it_is_cut_it_says_the_same(cuts in proptest::collection::vec(0..STREAM.len(), 0..6)) {
            let mut cuts = cuts;
            cuts.push(STREAM.len());
            cuts.sort_unstable();
            let (mut buffer, mut said, mut from) = (BytesMut::new(), Vec::new(), 0);
            for to in cuts {
                buffer.extend_from_slice(&STREAM[from..to]);
                from = to;
                while let Some(one) = take(&mut buffer).unwrap() {
                    said.push(one);
                }
            }
            prop_assert_eq!(said, all(STREAM).unwrap());
        }

        #[test]
        fn noise_is_refused_or_waited_for(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = take(&mut BytesMut::from(&noise[..]));
        }
    }
}

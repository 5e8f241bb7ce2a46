//! RFC 6455 frames: what a server reads from and writes to a socket after the upgrade.
//! Pure; it knows nothing of the messages inside.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    const fn code(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    fn parse(code: u8) -> Option<Self> {
        let all =
            [Self::Continuation, Self::Text, Self::Binary, Self::Close, Self::Ping, Self::Pong];
        all.into_iter().find(|opcode| opcode.code() == code)
    }

    const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// What a client said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Message {
    Text(String),
    Binary(Bytes),
    Ping(Bytes),
    /// With what the ping carried.
    Pong(Bytes),
    /// With the client's close code, where it gave one.
    Close(Option<u16>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Violation {
    #[error("the frame breaks RFC 6455")]
    Protocol,
    #[error("a text message is not UTF-8")]
    Utf8,
    #[error("the message is longer than allowed")]
    TooLong,
}

impl Violation {
    /// The close code of RFC 6455 section 7.4.
    pub(crate) const fn close_code(self) -> u16 {
        match self {
            Self::Protocol => 1002,
            Self::Utf8 => 1007,
            Self::TooLong => 1009,
        }
    }
}

/// The most bytes a message may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub text: usize,
    pub binary: usize,
}

/// Puts messages together from what a socket gives. Holds no memory while nothing is pending.
#[derive(Default)]
pub(crate) struct Reader {
    buffer: BytesMut,
    /// A fragmented message so far.
    partial: Option<(Opcode, BytesMut)>,
}

impl Reader {
    /// Takes what was read from the socket.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, if one is there.
    pub(crate) fn next_message(&mut self, limits: Limits) -> Result<Option<Message>, Violation> {
        while let Some((fin, opcode, payload)) = self.next_frame(limits)? {
            if let Some(message) = self.assemble(fin, opcode, payload, limits)? {
                return Ok(Some(message));
            }
        }
        if self.buffer.is_empty() {
            // An idle connection gives its buffer back.
            self.buffer = BytesMut::new();
        }
        Ok(None)
    }

    fn next_frame(
        &mut self,
        limits: Limits,
    ) -> Result<Option<(bool, Opcode, BytesMut)>, Violation> {
        let Some((header, length)) = parse_header(&self.buffer)? else { return Ok(None) };
        let so_far = self.partial.as_ref().map_or(0, |(_, bytes)| bytes.len() as u64);
        if length.saturating_add(so_far) > limits.text.max(limits.binary) as u64 {
            return Err(Violation::TooLong);
        }
        let total = header.size + length as usize;
        if self.buffer.len() < total {
            return Ok(None);
        }
        self.buffer.advance(header.size);
        let mut payload = self.buffer.split_to(length as usize);
        for (i, byte) in payload.iter_mut().enumerate() {
            *byte ^= header.mask[i & 3];
        }
        Ok(Some((header.fin, header.opcode, payload)))
    }

    fn assemble(
        &mut self,
        fin: bool,
        opcode: Opcode,
        payload: BytesMut,
        limits: Limits,
    ) -> Result<Option<Message>, Violation> {
        if opcode.is_control() {
            return control(opcode, &payload).map(Some);
        }
        let (kind, bytes) = match (opcode, self.partial.take()) {
            (Opcode::Continuation, Some((kind, mut bytes))) => {
                bytes.extend_from_slice(&payload);
                (kind, bytes)
            }
            (Opcode::Continuation, None) | (_, Some(_)) => return Err(Violation::Protocol),
            (kind, None) => (kind, payload),
        };
        let limit = if kind == Opcode::Text { limits.text } else { limits.binary };
        if bytes.len() > limit {
            return Err(Violation::TooLong);
        }
        if !fin {
            self.partial = Some((kind, bytes));
            return Ok(None);
        }
        if kind == Opcode::Text {
            let text = String::from_utf8(bytes.to_vec()).map_err(|_| Violation::Utf8)?;
            return Ok(Some(Message::Text(text)));
        }
        Ok(Some(Message::Binary(bytes.freeze())))
    }
}

fn control(opcode: Opcode, payload: &[u8]) -> Result<Message, Violation> {
    match opcode {
        Opcode::Ping => Ok(Message::Ping(Bytes::copy_from_slice(payload))),
        Opcode::Pong => Ok(Message::Pong(Bytes::copy_from_slice(payload))),
        _ => close(payload),
    }
}

fn close(payload: &[u8]) -> Result<Message, Violation> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() {
            Ok(Message::Close(None))
        } else {
            Err(Violation::Protocol)
        };
    };
    let code = u16::from_be_bytes(*code);
    let is_valid = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    if !is_valid {
        return Err(Violation::Protocol);
    }
    std::str::from_utf8(reason).map_err(|_| Violation::Utf8)?;
    Ok(Message::Close(Some(code)))
}

struct Header {
    fin: bool,
    opcode: Opcode,
    mask: [u8; 4],
    size: usize,
}

/// The header of a client's frame and its payload's length; `None` while it is incomplete.
fn parse_header(bytes: &[u8]) -> Result<Option<(Header, u64)>, Violation> {
    let Some(&[first, second]) = bytes.first_chunk::<2>() else { return Ok(None) };
    let opcode = Opcode::parse(first & 0x0f).ok_or(Violation::Protocol)?;
    let fin = first & 0x80 != 0;
    let (is_masked, short) = (second & 0x80 != 0, second & 0x7f);
    // Reserved bits belong to extensions, none of which is negotiated; clients always mask.
    if first & 0x70 != 0 || !is_masked || (opcode.is_control() && (!fin || short > 125)) {
        return Err(Violation::Protocol);
    }
    let rest = &bytes[2..];
    let (length, used) = match short {
        126 => match rest.first_chunk::<2>() {
            Some(long) => (u64::from(u16::from_be_bytes(*long)), 2),
            None => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(long) => (u64::from_be_bytes(*long), 8),
            None => return Ok(None),
        },
        short => (u64::from(short), 0),
    };
    let Some(mask) = rest[used..].first_chunk::<4>() else { return Ok(None) };
    Ok(Some((Header { fin, opcode, mask: *mask, size: 6 + used }, length)))
}

/// A whole server frame: unmasked, final.
pub(crate) fn frame(opcode: Opcode, parts: &[&[u8]]) -> Bytes {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = BytesMut::with_capacity(length + 10);
    out.put_u8(0x80 | opcode.code());
    match length {
        0..=125 => out.put_u8(length as u8),
        126..=0xffff => {
            out.put_u8(126);
            out.put_u16(length as u16);
        }
        _ => {
            out.put_u8(127);
            out.put_u64(length as u64);
        }
    }
    for part in parts {
        out.put_slice(part);
    }
    out.freeze()
}

/// A close frame; the reason is cut to what a control frame can hold.
pub(crate) fn close_frame(code: u16, reason: &str) -> Bytes {
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    frame(Opcode::Close, &[&code.to_be_bytes(), &reason.as_bytes()[..end]])
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { text: 100, binary: 200 };

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload.len() {
            short @ 0..=125 => bytes.push(0x80 | short as u8),
            long => {
                bytes.push(0x80 | 126);
                bytes.extend((long as u16).to_be_bytes());
            }
        }
        let mask = [1, 2, 3, 4];
        bytes.extend(mask);
        bytes.extend(payload.iter().enumerate().map(|(i, b)| b ^ mask[i % 4]));
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Vec<Message>, Violation> {
        let mut reader = Reader::default();
        let mut messages = Vec::new();
        for byte in bytes {
            reader.push(&[*byte]);
            while let Some(message) = reader.next_message(LIMITS)? {
                messages.push(message);
            }
        }
        Ok(messages)
    }

    #[test]
    fn messages_are_read_byte_by_byte() {
        let mut bytes = masked(0x81, b"hello");
        bytes.extend(masked(0x82, &[7; 150]));
        let messages = read(&bytes).unwrap();
        assert_eq!(messages[0], Message::Text("hello".into()));
        assert_eq!(messages[1], Message::Binary(vec![7; 150].into()));
    }

    #[test]
    fn a_control_frame_may_come_between_fragments() {
        let mut bytes = masked(0x01, b"he");
        bytes.extend(masked(0x89, b"p"));
        bytes.extend(masked(0x80, b"llo"));
        let expected = vec![Message::Ping("p".into()), Message::Text("hello".into())];
        assert_eq!(read(&bytes).unwrap(), expected);
    }

    #[test]
    fn violations_are_told_apart() {
        let unmasked = [0x81, 0x01, b'x'];
        let cases = [
            (unmasked.to_vec(), Violation::Protocol),
            (masked(0xc1, b"x"), Violation::Protocol),
            (masked(0x80, b"x"), Violation::Protocol),
            (masked(0x83, b"x"), Violation::Protocol),
            (masked(0x09, b"x"), Violation::Protocol),
            (masked(0x88, &1005u16.to_be_bytes()), Violation::Protocol),
            (masked(0x81, &[0xff]), Violation::Utf8),
            (masked(0x81, &[b'x'; 101]), Violation::TooLong),
            (masked(0x82, &[b'x'; 201]), Violation::TooLong),
        ];
        for (bytes, expected) in cases {
            assert_eq!(read(&bytes).unwrap_err(), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_long_message_in_small_fragments_is_refused() {
        let mut bytes = masked(0x01, &[b'x'; 60]);
        bytes.extend(masked(0x80, &[b'x'; 60]));
        assert_eq!(read(&bytes).unwrap_err(), Violation::TooLong);
    }

    #[test]
    fn a_server_frame_has_the_shortest_length_form() {
        assert_eq!(frame(Opcode::Text, &[b"a", b"b"]).as_ref(), b"\x81\x02ab");
        assert_eq!(frame(Opcode::Text, &[&[0; 126]])[..4], [0x81, 126, 0, 126]);
        assert_eq!(frame(Opcode::Binary, &[&[0; 70_000]])[..2], [0x82, 127]);
        assert_eq!(close_frame(4000, &"ä".repeat(100)).len(), 2 + 2 + 122);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let _ = read(&bytes);
        }
    }
}

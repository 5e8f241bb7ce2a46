//! A cheap WebSocket client for load: a hand-written upgrade, frames told apart by their headers alone.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) struct Socket {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// How much of the buffer has been handed out.
    taken: usize,
    /// Whether the server waits for a pong.
    pinged: bool,
}

const PING: u8 = 9;
/// Masked with zeros and empty, which the server takes as well as an echo.
const PONG: &[u8] = &[0x8a, 0x80, 0, 0, 0, 0];

impl Socket {
    /// Connects and upgrades; `buffer` is how much is read at once.
    pub(crate) async fn open(address: SocketAddr, path: &str, buffer: usize) -> Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut socket =
            Self { stream, buffer: Vec::with_capacity(buffer), taken: 0, pinged: false };
        loop {
            if socket.fill().await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let head = socket.buffer.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = head {
                if !socket.buffer.starts_with(b"HTTP/1.1 101") {
                    let line = socket.buffer.split(|byte| *byte == b'\r').next().unwrap_or(&[]);
                    return Err(Error::other(String::from_utf8_lossy(line).into_owned()));
                }
                socket.taken = end + 4;
                return Ok(socket);
            }
        }
    }

    /// A text frame, masked with zeros, which costs nothing.
    pub(crate) async fn send(&mut self, text: &str) -> Result<()> {
        let mut frame = vec![0x81];
        match (u8::try_from(text.len()), u16::try_from(text.len())) {
            (Ok(short @ 0..126), _) => frame.push(0x80 | short),
            (_, Ok(medium)) => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&medium.to_be_bytes());
            }
            _ => return Err(Error::other("a message too long for this client")),
        }
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(text.as_bytes());
        self.stream.write_all(&frame).await
    }

    /// Joins a room and waits until the server says so.
    pub(crate) async fn join(&mut self, room: &str, after: Option<&str>) -> Result<()> {
        self.ask_to_join(room, after).await?;
        let mut answer = None;
        while answer.is_none() {
            let is_open = self
                .read(|frame| {
                    if frame.holds("\"type\":\"room_joined\"") {
                        answer = Some(Ok(()));
                    } else if frame.holds("\"type\":\"error\"") {
                        let text = String::from_utf8_lossy(frame.payload).into_owned();
                        answer = Some(Err(Error::other(text)));
                    }
                })
                .await?;
            if !is_open {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        answer.unwrap_or(Ok(()))
    }

    /// Without waiting, for whoever counts what comes behind the answer.
    pub(crate) async fn ask_to_join(&mut self, room: &str, after: Option<&str>) -> Result<()> {
        let after = after.map_or(String::new(), |cursor| format!(",\"after\":\"{cursor}\""));
        self.send(&format!("{{\"type\":\"join\",\"payload\":{{\"room\":\"{room}\"{after}}}}}"))
            .await
    }

    /// Hands out every whole frame that is there, waiting for the first. `false` once the server closed.
    pub(crate) async fn read(&mut self, mut each: impl FnMut(Frame<'_>)) -> Result<bool> {
        let mut some = self.hand_out(&mut each);
        while !some {
            if self.fill().await? == 0 {
                return Ok(false);
            }
            some = self.hand_out(&mut each);
        }
        if std::mem::take(&mut self.pinged) {
            self.stream.write_all(PONG).await?;
        }
        Ok(true)
    }

    fn hand_out(&mut self, each: &mut impl FnMut(Frame<'_>)) -> bool {
        let mut some = false;
        while let Some((code, start, end)) = frame(&self.buffer[self.taken..]) {
            let payload = self.buffer.get(self.taken + start..self.taken + end).unwrap_or_default();
            self.pinged |= code == PING;
            each(Frame { code, payload, size: end });
            self.taken += end;
            some = true;
        }
        some
    }

    async fn fill(&mut self) -> Result<usize> {
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        if self.buffer.len() == self.buffer.capacity() {
            self.buffer.reserve(self.buffer.capacity().max(4 * 1024));
        }
        self.stream.read_buf(&mut self.buffer).await
    }
}

pub(crate) struct Frame<'a> {
    code: u8,
    pub(crate) payload: &'a [u8],
    /// With its header.
    pub(crate) size: usize,
}

impl Frame<'_> {
    pub(crate) fn is_text(&self) -> bool {
        self.code == 1
    }

    /// Whether the text holds `words`; enough to tell messages apart without reading JSON.
    pub(crate) fn holds(&self, words: &str) -> bool {
        self.payload.windows(words.len()).any(|window| window == words.as_bytes())
    }

    /// The text behind `"name":"`.
    pub(crate) fn text_of(&self, name: &str) -> Option<String> {
        let mark = format!("\"{name}\":\"");
        let at = self.payload.windows(mark.len()).position(|window| window == mark.as_bytes())?;
        let rest = &self.payload[at + mark.len()..];
        let end = rest.iter().position(|byte| *byte == b'"')?;
        Some(String::from_utf8_lossy(&rest[..end]).into_owned())
    }
}

/// Opcode, where the payload begins and where it ends.
fn frame(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (code, length) = (*bytes.first()? & 0x0f, *bytes.get(1)? & 0x7f);
    let (start, length) = match length {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        short => (2, usize::from(short)),
    };
    (bytes.len() >= start + length).then_some((code, start, start + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_apart_by_their_headers() {
        assert_eq!(frame(&[0x81, 2, b'o', b'k', 0x81]), Some((1, 2, 4)));
        assert_eq!(frame(&[0x81, 2, b'o']), None);
        let mut medium = vec![0x82, 126, 1, 0];
        medium.extend([0; 256]);
        assert_eq!(frame(&medium), Some((2, 4, 260)));
    }

    #[test]
    fn a_value_is_found_without_reading_json() {
        let frame = Frame { code: 1, payload: br#"{"type":"x","cursor":"abc"}"#, size: 0 };
        assert_eq!(frame.text_of("cursor").as_deref(), Some("abc"));
        assert!(frame.holds("\"type\":\"x\"") && frame.is_text());
    }
}

//! A cheap Socket.IO client for load: Engine.IO over the WebSocket of [`Socket`], packets told apart by their begin.
//! It keeps what the stock client keeps to come back with: its session and the offset of its last event.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;

use crate::bench::socket::Socket;

/// Where stock servers listen.
const PATH: &str = "/socket.io/?EIO=4&transport=websocket";

/// What a client comes back with.
#[derive(Clone, Default)]
pub(crate) struct Memory {
    sid: String,
    pid: Option<String>,
    offset: Option<String>,
}

pub(crate) struct Client {
    socket: Socket,
    pub(crate) memory: Memory,
    /// The server has restored its session.
    pub(crate) is_recovered: bool,
    /// Events that came with what was waited for: a stock server gives what was missed before it says so.
    held: Vec<Vec<u8>>,
}

impl Client {
    /// Connects to the main namespace, as somebody new or with what it remembers.
    pub(crate) async fn open(
        address: SocketAddr,
        token: &str,
        memory: &Memory,
        buffer: usize,
    ) -> Result<Self> {
        let mut socket = Socket::open(address, PATH, buffer).await?;
        let session = match (&memory.pid, &memory.offset) {
            (Some(pid), Some(offset)) => format!(",\"pid\":\"{pid}\",\"offset\":\"{offset}\""),
            _ => String::new(),
        };
        socket.send(&format!("40{{\"token\":\"{token}\"{session}}}")).await?;
        let mut client =
            Self { socket, memory: memory.clone(), is_recovered: false, held: Vec::new() };
        let answer = client.wait("40").await?;
        let sid = text_of(&answer, "sid").unwrap_or_default();
        client.is_recovered = sid == memory.sid;
        client.memory.pid = text_of(&answer, "pid");
        client.memory.sid = sid;
        Ok(client)
    }

    /// Joins a channel and waits until the server says so.
    pub(crate) async fn join(&mut self, channel: &str) -> Result<()> {
        self.send(&format!("420[\"subscribe\",\"{channel}\"]")).await?;
        self.wait("430[").await.map(drop)
    }

    pub(crate) async fn send(&mut self, packet: &str) -> Result<()> {
        self.socket.send(packet).await
    }

    /// Reads until a packet begins so; a refusal is an error.
    pub(crate) async fn wait(&mut self, begin: &str) -> Result<String> {
        let (mut found, mut held) = (None, Vec::new());
        while found.is_none() {
            let is_open = self
                .read(|packet| {
                    let text = || String::from_utf8_lossy(packet).into_owned();
                    if packet.starts_with(b"44") {
                        found = Some(Err(Error::other(text())));
                    } else if found.is_none() && packet.starts_with(begin.as_bytes()) {
                        found = Some(Ok(text()));
                    } else if packet.starts_with(b"42") {
                        held.push(packet.to_vec());
                    }
                })
                .await?;
            if !is_open {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        self.held = held;
        found.unwrap_or_else(|| Err(ErrorKind::UnexpectedEof.into()))
    }

    /// Hands out every whole packet that is there, waiting for the first, and answers pings. `false` once the server
    /// closed.
    pub(crate) async fn read(&mut self, mut each: impl FnMut(&[u8])) -> Result<bool> {
        if !self.held.is_empty() {
            std::mem::take(&mut self.held).iter().for_each(|packet| each(packet));
            return Ok(true);
        }
        let (mut is_pinged, mut last) = (false, Vec::new());
        let is_open = self
            .socket
            .read(|frame| {
                is_pinged |= frame.payload == b"2";
                if frame.payload.starts_with(b"42") {
                    last.clear();
                    last.extend_from_slice(frame.payload);
                }
                if frame.is_text() {
                    each(frame.payload);
                }
            })
            .await?;
        if let Some(offset) = offset_of(&last) {
            self.memory.offset = Some(offset);
        }
        if is_pinged {
            self.socket.send("3").await?;
        }
        Ok(is_open)
    }
}

/// The last argument of an event, where it is a string.
fn offset_of(packet: &[u8]) -> Option<String> {
    let arguments = std::str::from_utf8(packet).ok()?.strip_suffix("\"]")?;
    arguments.rsplit_once(",\"").map(|(_, offset)| offset.to_owned())
}

fn text_of(packet: &str, name: &str) -> Option<String> {
    let (_, rest) = packet.split_once(&format!("\"{name}\":\""))?;
    rest.split_once('"').map(|(value, _)| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_is_the_last_argument_if_it_is_a_string() {
        assert_eq!(offset_of(br#"42["call_update",{"a":"b"},"AQ_-1"]"#).as_deref(), Some("AQ_-1"));
        assert_eq!(offset_of(br#"42["call_update",{"a":"b"}]"#), None);
        assert_eq!(text_of(r#"40{"sid":"s1","pid":"p1"}"#, "pid").as_deref(), Some("p1"));
    }
}

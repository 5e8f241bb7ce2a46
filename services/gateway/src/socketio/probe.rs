//! A WebSocket that is tried out while the session polls. Whatever goes wrong with it, the session goes on polling.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::socket::io::{Happened, Socket};
use crate::wires::engineio::{PONG_PROBE, PROBE, Packet};
use crate::wires::websocket_frame::{Limits, Message, Opcode, close_frame, frame};

/// How long the close frame of a socket that is given up may take to leave.
const GOODBYE: Duration = Duration::from_secs(1);

pub(super) struct Probe {
    pub(super) socket: Socket,
    /// The probe was answered: the client may take over.
    pub(super) is_answered: bool,
    pub(super) deadline: Instant,
}

/// What came of something that happened to the probe.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Waiting,
    /// It was answered just now.
    Answered,
    /// The client takes over.
    Upgrade,
    GivenUp,
}

impl Probe {
    pub(super) fn new(socket: Socket, within: Duration) -> Self {
        Self { socket, is_answered: false, deadline: Instant::now() + within }
    }

    pub(super) async fn drive(probe: &mut Option<Box<Self>>) -> io::Result<Happened> {
        match probe {
            Some(probe) => probe.socket.drive().await,
            None => std::future::pending().await,
        }
    }

    pub(super) fn happened(&mut self, happened: &io::Result<Happened>, limits: Limits) -> Verdict {
        match happened {
            Ok(Happened::Read) => self.read(limits),
            Ok(Happened::Wrote) => Verdict::Waiting,
            Ok(Happened::Closed) | Err(_) => Verdict::GivenUp,
        }
    }

    /// Reads what has come, up to the packet with which the client takes over: what follows belongs to the session.
    pub(super) fn read(&mut self, limits: Limits) -> Verdict {
        let mut verdict = Verdict::Waiting;
        loop {
            let text = match self.socket.reader.next_message(limits) {
                Ok(Some(Message::Text(text))) => text,
                Ok(Some(Message::Ping(payload))) => {
                    self.socket.send(frame(Opcode::Pong, &[&payload]));
                    continue;
                }
                Ok(Some(Message::Pong(_))) => continue,
                Ok(None) => return verdict,
                Ok(Some(Message::Binary(_) | Message::Close(_))) | Err(_) => {
                    return Verdict::GivenUp;
                }
            };
            match Packet::decode(text) {
                Ok(Packet::Ping(what)) if what == PROBE && !self.is_answered => {
                    self.socket.send(frame(Opcode::Text, &[PONG_PROBE.as_bytes()]));
                    self.is_answered = true;
                    verdict = Verdict::Answered;
                }
                Ok(Packet::Upgrade) if self.is_answered => return Verdict::Upgrade,
                _ => return Verdict::GivenUp,
            }
        }
    }

    /// Says goodbye; the session does not wait for it to arrive.
    pub(super) async fn give_up(mut self) {
        self.socket.send(close_frame(1000, ""));
        let _slow = timeout(GOODBYE, self.socket.flush()).await;
    }
}

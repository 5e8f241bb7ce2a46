//! A lean connection to a server, with one inbox, for those who read much: one loop owns it, asks over it and takes
//! off what comes. It neither reconnects nor buffers ahead: what is not taken off waits in the socket, and whoever
//! owns it opens another one.
//!
//! Why there is such a thing beside the client library's is decision 17.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::FutureExt as _;
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf,
};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::error;

mod handshake;
mod protocol;

use super::servers::Servers;
pub(crate) use protocol::Message;
use protocol::{Malformed, Said};

const OPEN_WITHIN: Duration = Duration::from_secs(3);
/// What one server may take of it: others may answer while one is silent.
const ANSWER_WITHIN: Duration = Duration::from_millis(700);
/// Between two looks at a server that is about to come back.
const PAUSE: Duration = Duration::from_millis(20);
/// What is read at a time; a message may be larger.
const CHUNK: usize = 64 * 1024;

#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error("the connection ended")]
    Ended(#[source] io::Error),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the server refused the user or the password")]
    Refused,
    #[error("the server ended the connection: {0}")]
    Server(String),
    #[error("no server answered in time")]
    Unreachable,
}

/// A socket, with TLS or without.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send + Sync {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Socket for T {}

pub(crate) struct Wire {
    reader: ReadHalf<Box<dyn Socket>>,
    writer: WriteHalf<Box<dyn Socket>>,
    received: BytesMut,
    outgoing: BytesMut,
    /// Something was written, or is still to be.
    is_unflushed: bool,
}

impl Wire {
    /// Connects as `<service>-<purpose>` to one of the servers, and waits a little for one that is just coming up.
    pub(crate) async fn open(servers: &Servers, purpose: &str) -> Result<Self, WireError> {
        let deadline = Instant::now() + OPEN_WITHIN;
        loop {
            for address in servers.all() {
                let until = deadline.min(Instant::now() + ANSWER_WITHIN);
                match timeout_at(until, handshake::open(servers, &address, purpose)).await {
                    Ok(Ok(wire)) => return Ok(wire),
                    Ok(Err(WireError::Refused)) => return Err(WireError::Refused),
                    Ok(Err(_)) | Err(_) => {}
                }
            }
            if Instant::now() + PAUSE >= deadline {
                return Err(WireError::Unreachable);
            }
            sleep(PAUSE).await;
        }
    }

    fn on(socket: Box<dyn Socket>, received: BytesMut) -> Self {
        let (reader, writer) = tokio::io::split(socket);
        Self { reader, writer, received, outgoing: BytesMut::new(), is_unflushed: false }
    }

    /// Sent with the next wait, like everything else here.
    pub(crate) fn subscribe(&mut self, subject: &str) {
        protocol::subscribe(&mut self.outgoing, subject);
        self.is_unflushed = true;
    }

    pub(crate) fn publish(&mut self, subject: &str, reply: &str, payload: &[u8]) {
        protocol::publish(&mut self.outgoing, subject, reply, payload);
        self.is_unflushed = true;
    }

    /// Makes the server say something, for a connection that may have died silently.
    pub(crate) fn ping(&mut self) {
        self.write(b"PING\r\n");
    }

    fn write(&mut self, text: &[u8]) {
        self.outgoing.extend_from_slice(text);
        self.is_unflushed = true;
    }

    /// The next message. Safe to drop while waiting.
    pub(crate) async fn next(&mut self) -> Result<Message, WireError> {
        loop {
            if let Some(message) = self.next_or_pong().await? {
                return Ok(message);
            }
        }
    }

    /// A message that has already arrived.
    pub(crate) fn try_next(&mut self) -> Result<Option<Message>, WireError> {
        self.next().now_or_never().transpose()
    }

    /// The next message, or the answer to a ping.
    pub(crate) async fn next_or_pong(&mut self) -> Result<Option<Message>, WireError> {
        loop {
            match self.heard()? {
                Some(Said::Message(message)) => return Ok(Some(message)),
                Some(Said::Pong) => return Ok(None),
                Some(_) => {}
                None => self.exchange().await?,
            }
        }
    }

    /// What is there already, answering what the server wants to know.
    fn heard(&mut self) -> Result<Option<Said>, WireError> {
        let said = protocol::take(&mut self.received)?;
        match &said {
            Some(Said::Ping) => self.write(b"PONG\r\n"),
            // A call that is not allowed is not answered to the caller, who sees a time-out; this is its only trace.
            Some(Said::Error(text)) if text.contains("ermissions") => {
                error!(violation = %text, "NATS refused a call: permissions violation");
            }
            Some(Said::Error(text)) if text.contains("uthorization") => {
                return Err(WireError::Refused);
            }
            Some(Said::Error(text)) => return Err(WireError::Server(text.clone())),
            _ => {}
        }
        Ok(said)
    }

    /// Reads what comes and writes what is to be sent, whichever is possible first: a server that waits for us to read
    /// must not wait for what we want to write.
    async fn exchange(&mut self) -> Result<(), WireError> {
        self.received.reserve(CHUNK);
        let Self { reader, writer, received, outgoing, is_unflushed } = self;
        let write = async {
            // A write that was begun is not forgotten when reading comes first: TLS may hold some of it back.
            if outgoing.is_empty() {
                writer.flush().await.map(|()| 0)
            } else {
                writer.write(outgoing).await
            }
        };
        tokio::select! {
            biased;
            written = write, if *is_unflushed => {
                let was_empty = outgoing.is_empty();
                let count = written.map_err(WireError::Ended)?;
                if count == 0 && !was_empty {
                    return Err(WireError::Ended(io::ErrorKind::WriteZero.into()));
                }
                let _ = outgoing.split_to(count);
                *is_unflushed = !was_empty;
            }
            read = reader.read_buf(received) => {
                if read.map_err(WireError::Ended)? == 0 {
                    return Err(WireError::Ended(io::ErrorKind::UnexpectedEof.into()));
                }
            }
        }
        Ok(())
    }
}

//! A cheap Socket.IO client for load: Engine.IO over the WebSocket of [`Socket`], packets told apart by their begin.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;

use crate::bench::socket::Socket;

/// Where stock servers listen.
const PATH: &str = "/socket.io/?EIO=4&transport=websocket";

pub(crate) struct SocketIo(Socket);

impl SocketIo {
    /// Connects to the main namespace and waits until it is told how it stands there.
    pub(crate) async fn open(address: SocketAddr, token: &str, buffer: usize) -> Result<Self> {
        let mut socket = Socket::open(address, PATH, buffer).await?;
        socket.send(&format!("40{{\"token\":\"{token}\"}}")).await?;
        let mut client = Self(socket);
        client.wait("42[\"throughline:ready\"").await?;
        Ok(client)
    }

    /// Joins a channel and waits until the server says so.
    pub(crate) async fn join(&mut self, channel: &str) -> Result<()> {
        self.0.send(&format!("420[\"subscribe\",\"{channel}\"]")).await?;
        self.wait("430[{").await
    }

    /// Reads until a packet begins so; a refusal is an error. Pings are answered on the way.
    async fn wait(&mut self, begin: &str) -> Result<()> {
        let (mut found, mut is_pinged) = (None, false);
        while found.is_none() {
            let is_open = self
                .0
                .read(|frame| match frame.payload {
                    b"2" => is_pinged = true,
                    packet if packet.starts_with(b"44") || frame.holds("\"ok\":false") => {
                        let text = String::from_utf8_lossy(packet).into_owned();
                        found = Some(Err(Error::other(text)));
                    }
                    packet if packet.starts_with(begin.as_bytes()) => found = Some(Ok(())),
                    _ => {}
                })
                .await?;
            if !is_open {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if std::mem::take(&mut is_pinged) {
                self.0.send("3").await?;
            }
        }
        found.unwrap_or(Ok(()))
    }
}

//! HTTP/1.1 as a client needs it: one request at a time, whole bodies, or the stream of an endless answer.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Far beyond what any single answer may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(method: &str, target: &str) -> Self {
        let (method, target) = (method.to_owned(), target.to_owned());
        Self { method, target, headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub(crate) fn post(target: &str) -> Self {
        Self::new("POST", target)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("Content-Type", content_type)
    }

    pub(crate) fn json(self, body: &serde_json::Value) -> Self {
        self.body("application/json", body.to_string())
    }

    fn bytes(&self, host: SocketAddr) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.method != "GET" {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        [head.as_bytes(), &self.body].concat()
    }

    /// Sends it on a connection of its own.
    pub(crate) async fn send(self, to: SocketAddr) -> io::Result<Answer> {
        Connection::open(to).await?.send(&self).await
    }

    /// Sends it and leaves the body to be read as it comes.
    pub(crate) async fn stream(self, to: SocketAddr) -> io::Result<(Head, Body)> {
        let mut connection = Connection::open(to).await?;
        let head = patiently(connection.exchange_head(&self)).await?;
        let framing = head.framing();
        Ok((head, Body { connection, framing }))
    }
}

/// A connection that is kept for the next request.
pub(crate) struct Connection {
    to: SocketAddr,
    socket: TcpStream,
    unread: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(to: SocketAddr) -> io::Result<Self> {
        let socket = patiently(TcpStream::connect(to)).await?;
        socket.set_nodelay(true)?;
        Ok(Self { to, socket, unread: Vec::new() })
    }

    pub(crate) async fn send(&mut self, request: &Request) -> io::Result<Answer> {
        patiently(async {
            let head = self.exchange_head(request).await?;
            let body = self.whole_body(head.framing()).await?;
            Ok(Answer { status: head.status, headers: head.headers, body })
        })
        .await
    }

    async fn exchange_head(&mut self, request: &Request) -> io::Result<Head> {
        self.socket.write_all(&request.bytes(self.to)).await?;
        loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                let rest = self.unread.split_off(end + 4);
                let head = std::mem::replace(&mut self.unread, rest);
                return Head::parse(&String::from_utf8_lossy(&head));
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.socket.read_buf(&mut self.unread).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    async fn whole_body(&mut self, framing: Framing) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        match framing {
            Framing::Length(length) => {
                while self.unread.len() < length {
                    self.more().await?;
                }
                body.extend(self.unread.drain(..length));
            }
            Framing::Chunked => {
                while let Some(chunk) = self.chunk().await? {
                    body.extend(chunk);
                }
            }
            Framing::UntilClose => {
                while self.more().await.is_ok() {}
                body.append(&mut self.unread);
            }
        }
        Ok(body)
    }

    async fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let end = loop {
            match find(&self.unread, b"\r\n") {
                Some(end) => break end,
                None => self.more().await?,
            }
        };
        let size = String::from_utf8_lossy(&self.unread[..end]).into_owned();
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
        while self.unread.len() < end + 2 + size + 2 {
            self.more().await?;
        }
        let mut chunk: Vec<u8> = self.unread.drain(..end + 2 + size + 2).skip(end + 2).collect();
        chunk.truncate(size);
        Ok((size > 0).then_some(chunk))
    }
}

pub(crate) struct Body {
    connection: Connection,
    framing: Framing,
}

impl Body {
    /// The next piece; `None` at its orderly end, an error when it was cut.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.framing {
            Framing::Chunked => self.connection.chunk().await,
            Framing::Length(_) | Framing::UntilClose => {
                if self.connection.unread.is_empty() {
                    self.connection.more().await?;
                }
                Ok(Some(std::mem::take(&mut self.connection.unread)))
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
}

impl Head {
    fn parse(text: &str) -> io::Result<Self> {
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no HTTP: {text:?}")))?;
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        Ok(Self { status, headers: lines.filter_map(header).collect() })
    }

    fn framing(&self) -> Framing {
        match (header(&self.headers, "transfer-encoding"), header(&self.headers, "content-length"))
        {
            (Some(_), _) => Framing::Chunked,
            (None, Some(length)) => Framing::Length(length.parse().unwrap_or(0)),
            (None, None) if matches!(self.status, 204 | 304) => Framing::Length(0),
            (None, None) => Framing::UntilClose,
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {}: {}", self.status, self.text()))
    }
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

async fn patiently<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// A query's value with everything but letters and digits encoded.
pub(crate) fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

//! Requests and WebSockets as bare as they go over the wire.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn code(&self) -> u64 {
        let body: Value = serde_json::from_str(&self.body).unwrap();
        assert!(body["message"].is_string(), "{body}");
        body["code"].as_u64().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Sends a request; the answer is read by [`answer`].
pub(crate) async fn send(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> TcpStream {
    let mut socket = TcpStream::connect(to).await.unwrap();
    let length = body.len();
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    socket.write_all(text.as_bytes()).await.unwrap();
    socket
}

pub(crate) async fn answer(mut socket: TcpStream) -> Answer {
    let mut text = String::new();
    let reading = socket.read_to_string(&mut text);
    timeout(PATIENCE, reading).await.expect("an answer in time").unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

pub(crate) async fn ask(to: SocketAddr, method: &str, path: &str, body: &str) -> Answer {
    answer(send(to, method, path, "", body).await).await
}

/// A session that polls.
pub(crate) struct Polling {
    to: SocketAddr,
    path: String,
    pub(crate) sid: String,
}

impl Polling {
    pub(crate) async fn open(to: SocketAddr, path: &str) -> Self {
        let path = format!("{path}/?EIO=4&transport=polling");
        let opened = ask(to, "GET", &path, "").await;
        assert_eq!(opened.status, 200, "{}", opened.body);
        let handshake: Value =
            serde_json::from_str(opened.body.strip_prefix('0').unwrap()).unwrap();
        assert_eq!(handshake["upgrades"], serde_json::json!(["websocket"]));
        let sid = handshake["sid"].as_str().unwrap().to_owned();
        Self { to, path: format!("{path}&sid={sid}"), sid }
    }

    pub(crate) async fn poll(&self) -> Answer {
        answer(self.begin_poll().await).await
    }

    /// A poll on its way; the server has it when this returns.
    pub(crate) async fn begin_poll(&self) -> TcpStream {
        let socket = send(self.to, "GET", &self.path, "", "").await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        socket
    }

    pub(crate) async fn post(&self, body: &str) -> Answer {
        ask(self.to, "POST", &self.path, body).await
    }

    #[track_caller]
    pub(crate) fn is_over(&self) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            let answer = self.poll().await;
            assert_eq!((answer.status, answer.code()), (400, 1), "{place}");
        }
    }
}

pub(crate) struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    /// Opens a WebSocket and takes its open packet, unless it is to take over from polling.
    pub(crate) async fn open(to: SocketAddr, path: &str, sid: Option<&str>) -> Self {
        let sid_field = sid.map(|sid| format!("&sid={sid}")).unwrap_or_default();
        let url = format!("ws://{to}{path}/?EIO=4&transport=websocket{sid_field}");
        let stream = TcpStream::connect(to).await.unwrap();
        let (socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
        let mut socket = Self(socket);
        if sid.is_none() {
            let open = socket.text().await;
            assert!(open.starts_with("0{") && open.contains("\"upgrades\":[]"), "{open}");
        }
        socket
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &'static [u8]) {
        self.0.send(Message::binary(bytes)).await.unwrap();
    }

    pub(crate) async fn text(&mut self) -> String {
        match timeout(PATIENCE, self.0.next()).await.expect("a message in time") {
            Some(Ok(Message::Text(text))) => text.to_string(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn bytes(&mut self) -> Vec<u8> {
        match timeout(PATIENCE, self.0.next()).await.expect("a message in time") {
            Some(Ok(Message::Binary(bytes))) => bytes.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    /// Reads until the server closes.
    #[track_caller]
    pub(crate) fn is_closed(&mut self) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            let closed = async {
                while let Some(Ok(message)) = self.0.next().await {
                    if message.is_close() {
                        return;
                    }
                }
            };
            assert!(timeout(PATIENCE, closed).await.is_ok(), "{place}: still open");
        }
    }
}

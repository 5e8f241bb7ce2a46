//! A pager's webhook that refuses now and then.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rand::RngExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// How often each page came, and how often it was taken.
type Pages = Arc<Mutex<BTreeMap<String, (u32, u32)>>>;

pub(crate) struct Pager {
    pub(crate) address: SocketAddr,
    pages: Pages,
    _serving: JoinSet<()>,
}

impl Pager {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let pages = Pages::default();
        let book = pages.clone();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut answering = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                answering.spawn(answer(socket, book.clone()));
            }
        });
        Self { address, pages, _serving: serving }
    }

    pub(crate) fn pages(&self) -> BTreeMap<String, (u32, u32)> {
        self.pages.lock().unwrap().clone()
    }
}

/// One request a connection.
async fn answer(mut socket: TcpStream, pages: Pages) {
    let mut text = Vec::new();
    while !text.windows(4).any(|end| end == b"\r\n\r\n") {
        if socket.read_buf(&mut text).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let head = String::from_utf8_lossy(&text);
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    let id = headers.find(|(name, _)| name.eq_ignore_ascii_case("webhook-id"));
    let Some(id) = id.map(|(_, id)| id.trim().to_owned()) else { return };
    let takes = !rand::rng().random_ratio(1, 3);
    note(&pages, id, takes);
    let status = if takes { "200 OK" } else { "503 Service Unavailable" };
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let _ = socket.write_all(answer.as_bytes()).await;
}

fn note(pages: &Pages, id: String, takes: bool) {
    let mut pages = pages.lock().unwrap();
    let page = pages.entry(id).or_default();
    page.0 += 1;
    page.1 += u32::from(takes);
}

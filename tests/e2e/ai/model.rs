//! A server that speaks chat completions, and does on demand what such servers do on good and on bad days.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// What it does with a request.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Says these pieces with a pause before each.
    Say(Vec<String>, Duration),
    /// Calls the tool by which it reports a crisis, with these arguments, one call behind the other.
    Crisis(Vec<String>),
    /// This in place of a stream of events.
    Raw(&'static str),
    Refuse,
    Hang,
}

impl Act {
    pub(super) fn said(text: &str) -> Self {
        Self::Say(vec![text.to_owned()], Duration::ZERO)
    }
}

pub(super) struct Model {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    _serving: JoinSet<()>,
}

struct State {
    next: VecDeque<Act>,
    otherwise: Act,
    asked: usize,
}

impl Model {
    pub(super) async fn start(otherwise: Act) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { next: VecDeque::new(), otherwise, asked: 0 }));
        let (mut serving, book) = (JoinSet::new(), state.clone());
        serving.spawn(async move {
            let mut answering = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                answering.spawn(answer(socket, book.clone()));
            }
        });
        Self { address, state, _serving: serving }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it does with the next request before it does as otherwise.
    pub(super) fn next(&self, act: Act) {
        self.state.lock().unwrap().next.push_back(act);
    }

    /// How often it was asked.
    pub(super) fn asked(&self) -> usize {
        self.state.lock().unwrap().asked
    }
}

/// One request a connection.
async fn answer(mut socket: TcpStream, state: Arc<Mutex<State>>) {
    let mut text = Vec::new();
    while !is_whole(&text) {
        if socket.read_buf(&mut text).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let act = {
        let mut state = state.lock().unwrap();
        state.asked += 1;
        state.next.pop_front().unwrap_or_else(|| state.otherwise.clone())
    };
    // Whoever asked may have gone.
    let _ = act_out(&mut socket, act).await;
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, _)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().filter_map(|line| line.split_once(':'));
    let mut length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize = length.next().map_or(0, |(_, value)| value.trim().parse().unwrap());
    request.len() >= head.len() + 4 + length
}

async fn act_out(socket: &mut TcpStream, act: Act) -> std::io::Result<()> {
    if let Act::Refuse = act {
        let refused = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        return socket.write_all(refused.as_bytes()).await;
    }
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    socket.write_all(head.as_bytes()).await?;
    match act {
        Act::Say(pieces, pause) => {
            for piece in pieces {
                sleep(pause).await;
                chunk(socket, json!({ "content": piece })).await?;
            }
        }
        Act::Crisis(calls) => {
            for arguments in calls {
                let function = json!({ "name": "report_crisis", "arguments": arguments });
                let call = json!({ "index": null, "function": function });
                chunk(socket, json!({ "tool_calls": [call] })).await?;
            }
        }
        Act::Raw(text) => socket.write_all(text.as_bytes()).await?,
        Act::Hang => std::future::pending().await,
        Act::Refuse => {}
    }
    socket.write_all(b"data: [DONE]\n\n").await
}

async fn chunk(socket: &mut TcpStream, delta: Json) -> std::io::Result<()> {
    let chunk = json!({ "choices": [{ "index": 0, "delta": delta }] });
    socket.write_all(format!("data: {chunk}\n\n").as_bytes()).await
}

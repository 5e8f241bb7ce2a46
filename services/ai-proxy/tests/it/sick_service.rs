//! An AI service over plain TCP that does on demand what services do on bad days.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use runtime::tasks::{Connections, Owned, owned};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::sleep;

/// What it does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Streams these pieces, one after the other, and ends as it should.
    Say(Vec<&'static str>),
    /// The same with a pause before each piece.
    Slowly(Vec<&'static str>, Duration),
    /// A whole JSON answer.
    Whole(Value),
    /// A whole JSON answer, as soon as it may.
    Held(Value, Arc<Notify>),
    Status(u16, &'static str),
    Hang,
    /// Sends a head and then nothing.
    HangInside,
    /// One byte now and then.
    Drip,
    /// Streams pieces and ends without the end mark.
    BreakOff(Vec<&'static str>),
    /// Streams a piece and then an error.
    ErrorInside,
    /// These lines as they are.
    Raw(&'static str),
    /// These lines as they are and nothing behind them.
    RawEnd(&'static str),
    /// A body of this many bytes, all of them comments and data without an end.
    Flood(usize),
    Redirect(&'static str),
    /// Echoes which user text it was asked, so that order can be seen.
    Echo,
    /// Hears what the sound says, after the milliseconds that it begins with.
    Hear,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub head: String,
    pub body: Vec<u8>,
}

impl Asked {
    /// A header that came, in small letters as the whole head is.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[derive(Clone)]
pub(crate) struct SickService {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    _serving: Arc<Owned<()>>,
}

struct State {
    next: VecDeque<Act>,
    otherwise: Act,
    asked: Vec<Asked>,
    /// Requests that were begun and not yet ended, and the most there were.
    now: usize,
    most: usize,
}

impl SickService {
    pub(crate) async fn start(otherwise: Act) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = State { next: VecDeque::new(), otherwise, asked: Vec::new(), now: 0, most: 0 };
        let state = Arc::new(Mutex::new(state));
        let serving = owned(serve(listener, state.clone()));
        Self { address, state, _serving: Arc::new(serving) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What comes before what it does otherwise.
    pub(crate) fn then(&self, acts: impl IntoIterator<Item = Act>) {
        self.state.lock().unwrap().next.extend(acts);
    }

    pub(crate) fn otherwise(&self, act: Act) {
        self.state.lock().unwrap().otherwise = act;
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    /// Whether it is being asked something.
    pub(crate) fn is_busy(&self) -> bool {
        self.state.lock().unwrap().now > 0
    }

    /// The most requests it had at one time.
    pub(crate) fn most_at_once(&self) -> usize {
        self.state.lock().unwrap().most
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    let connections = Connections::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = state.clone();
        connections.spawn(async move {
            let _ = stream.set_nodelay(true);
            let _ = connection(stream, &state).await;
        });
    }
}

async fn connection(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(asked) = request(&mut stream, &mut buffer).await? {
        let act = {
            let mut state = state.lock().unwrap();
            state.asked.push(asked.clone());
            state.now += 1;
            state.most = state.most.max(state.now);
            state.next.pop_front().unwrap_or_else(|| state.otherwise.clone())
        };
        let done = act_out(&mut stream, act, &asked).await;
        state.lock().unwrap().now -= 1;
        if !done? {
            return Ok(());
        }
    }
    Ok(())
}

async fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<Option<Asked>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|it| it == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
            let length = head.split("content-length: ").nth(1).unwrap_or("0");
            let length: usize = length.lines().next().unwrap().trim().parse().unwrap();
            if buffer.len() >= end + 4 + length {
                let body = buffer[end + 4..end + 4 + length].to_vec();
                buffer.drain(..end + 4 + length);
                return Ok(Some(Asked { head, body }));
            }
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// Whether the connection can be used again.
async fn act_out(stream: &mut TcpStream, act: Act, asked: &Asked) -> std::io::Result<bool> {
    match act {
        Act::Say(pieces) => say(stream, &pieces, Duration::ZERO).await,
        Act::Slowly(pieces, pause) => say(stream, &pieces, pause).await,
        Act::Echo => echo(stream, asked).await,
        Act::Hear => hear(stream, asked).await,
        Act::Whole(body) => whole(stream, 200, "", body.to_string().as_bytes()).await,
        Act::Held(body, given) => {
            given.notified().await;
            whole(stream, 200, "", body.to_string().as_bytes()).await
        }
        Act::Status(status, headers) => whole(stream, status, headers, b"{\"error\":{}}").await,
        Act::Redirect(to) => whole(stream, 302, &format!("location: {to}\r\n"), b"").await,
        Act::Hang => forever().await,
        Act::HangInside => {
            head(stream).await?;
            forever().await
        }
        Act::Drip => {
            head(stream).await?;
            loop {
                chunk(stream, ": \n").await?;
                sleep(Duration::from_millis(20)).await;
            }
        }
        Act::BreakOff(pieces) => {
            head(stream).await?;
            for text in pieces {
                chunk(stream, &piece(text)).await?;
            }
            stream.write_all(b"0\r\n\r\n").await?;
            Ok(true)
        }
        Act::ErrorInside => {
            head(stream).await?;
            chunk(stream, &piece("Well, ")).await?;
            chunk(stream, "data: {\"error\":{\"message\":\"overloaded\"}}\n\n").await?;
            end(stream).await
        }
        Act::Raw(text) => {
            head(stream).await?;
            chunk(stream, text).await?;
            end(stream).await
        }
        Act::RawEnd(text) => {
            head(stream).await?;
            chunk(stream, text).await?;
            stream.write_all(b"0\r\n\r\n").await?;
            Ok(true)
        }
        Act::Flood(bytes) => {
            head(stream).await?;
            let comment = format!(": {}\n", "x".repeat(64 * 1024 - 3));
            for _ in 0..bytes / comment.len() {
                chunk(stream, &comment).await?;
            }
            end(stream).await
        }
    }
}

async fn echo(stream: &mut TcpStream, asked: &Asked) -> std::io::Result<bool> {
    let body = asked.json();
    let last = body["messages"].as_array().unwrap().last().unwrap();
    let text = format!("You said: {}", last["content"].as_str().unwrap());
    head(stream).await?;
    chunk(stream, &piece(&text)).await?;
    end(stream).await
}

async fn hear(stream: &mut TcpStream, asked: &Asked) -> std::io::Result<bool> {
    let said = String::from_utf8_lossy(&asked.body).into_owned();
    let pause: u64 = said.split(' ').next().unwrap().parse().unwrap();
    sleep(Duration::from_millis(pause)).await;
    let body = json!({ "transcription": said, "audioResponse": null });
    whole(stream, 200, "", body.to_string().as_bytes()).await
}

async fn say(stream: &mut TcpStream, pieces: &[&str], pause: Duration) -> std::io::Result<bool> {
    head(stream).await?;
    for text in pieces {
        sleep(pause).await;
        chunk(stream, &piece(text)).await?;
    }
    let usage =
        json!({ "choices": null, "usage": { "prompt_tokens": 10, "completion_tokens": 4 } });
    chunk(stream, &format!("data: {usage}\n\n")).await?;
    end(stream).await
}

fn piece(text: &str) -> String {
    let chunk = json!({ "id": "1", "object": "chat.completion.chunk", "model": "small",
        "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": null }] });
    format!("data: {chunk}\n\n")
}

async fn head(stream: &mut TcpStream) -> std::io::Result<()> {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await
}

async fn chunk(stream: &mut TcpStream, text: &str) -> std::io::Result<()> {
    stream.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()).await
}

async fn end(stream: &mut TcpStream) -> std::io::Result<bool> {
    chunk(stream, "data: [DONE]\n\n").await?;
    stream.write_all(b"0\r\n\r\n").await?;
    Ok(true)
}

async fn whole(
    stream: &mut TcpStream,
    status: u16,
    headers: &str,
    body: &[u8],
) -> std::io::Result<bool> {
    let head = format!(
        "HTTP/1.1 {status} Whatever\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    Ok(true)
}

async fn forever() -> std::io::Result<bool> {
    std::future::pending().await
}

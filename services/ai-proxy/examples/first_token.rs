//! What ai-proxy adds to a provider's first token, and what its streams cost: a real nats-server, ai-proxy as a
//! process of its own, a provider that answers at a given pace, a listener that sees what a gateway sees.
//!
//! `cargo build --release -p ai-proxy && cargo run --release -p ai-proxy --example first_token -- 200 30`
//! (streams at one time, seconds).
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::collections::HashMap;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::Tenant;
use domain::catalogue::{Catalogue, Defaults, Publication};
use domain::subject::ephemeral_filter;
use runtime::nats::Nats;
use runtime::tasks::{BoxError, Connections, owned};
use runtime::test_support::TestNats;
use runtime::{clock, ids};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

/// Before its first token, and before each other one.
const THINKS: Duration = Duration::from_millis(250);
const TOKEN: Duration = Duration::from_millis(50);
const TOKENS: usize = 60;
const TENANT: &str = "bench";
const KEY: &str = "a key for measuring of more than thirty-two characters";
/// Kernel ticks in a second, on every Linux there is.
const TICKS: f64 = 100.0;

/// When the provider had sent its first token, by the message it answers.
type Sent = Arc<Mutex<HashMap<String, Instant>>>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut arguments = std::env::args().skip(1);
    let streams: usize = arguments.next().map_or(Ok(200), |text| text.parse())?;
    let seconds: u64 = arguments.next().map_or(Ok(30), |text| text.parse())?;
    let nats = Box::pin(TestNats::start()).await;
    let admin = nats.nats("admin").await;
    let (provider, sent) = (TcpListener::bind("127.0.0.1:0").await?, Sent::default());
    let url = format!("http://{}", provider.local_addr()?);
    let _provider = owned(serve(provider, sent.clone()));
    let mut proxy = start(&nats, &url, streams)?;
    let run = Box::pin(measure(&admin, &sent, streams, Duration::from_secs(seconds), proxy.id()));
    let result = run.await;
    proxy.kill()?;
    proxy.wait()?;
    result
}

fn start(nats: &TestNats, url: &str, streams: usize) -> Result<Child, BoxError> {
    let here = std::env::current_exe()?;
    let folder = here.parent().and_then(|it| it.parent()).ok_or("no folder of binaries")?;
    let mut command = Command::new(folder.join("ai-proxy"));
    command
        .env("NATS_URL", nats.url("ai-proxy"))
        .env("PLATFORM_KEY", KEY)
        .env("OPS_LISTEN", "127.0.0.1:0")
        .env("AI_PROVIDER", "openai")
        .env("AI_SERVICE_URL", url)
        .env("AI_MODEL", "bench")
        .env("AI_CONCURRENCY", (streams * 2).to_string())
        .env("RUST_LOG", "warn")
        .stdin(Stdio::null());
    Ok(command.spawn()?)
}

/// Keeps so many conversations busy, and prints what it took.
async fn measure(
    admin: &Nats,
    sent: &Sent,
    streams: usize,
    time: Duration,
    proxy: u32,
) -> Result<(), BoxError> {
    let catalogue = Arc::new(Catalogue::builtin()?);
    let (seen, mut events) = mpsc::channel(65_536);
    let _listener = owned(listen(admin.clone(), seen));
    let say = |conversation: usize, turn: usize| {
        let (admin, catalogue) = (admin.clone(), catalogue.clone());
        async move { say(&admin, &catalogue, conversation, turn).await }
    };
    let (mut said, mut turns) = (HashMap::new(), vec![0_usize; streams]);
    for (conversation, turn) in turns.iter().enumerate() {
        said.insert(id(conversation, *turn), Instant::now());
        say(conversation, *turn).await?;
        // As people begin: not all at once.
        sleep(Duration::from_micros(3_000_000 / u64::try_from(streams)?)).await;
    }
    let (begun, busy) = (Instant::now(), processor_seconds(proxy)?);
    let (mut to_first, mut behind_first, mut deltas, mut answers) =
        (Vec::new(), Vec::new(), 0_u64, 0);
    while begun.elapsed() < time {
        let Ok(Some((message, at, is_last, is_first))) =
            timeout(Duration::from_secs(20), events.recv()).await
        else {
            return Err("nothing came for twenty seconds".into());
        };
        deltas += 1;
        if is_first && let Some(asked) = said.get(&message) {
            let token = sent.lock().unwrap_or_else(PoisonError::into_inner).remove(&message);
            to_first.push((at - *asked).saturating_sub(THINKS));
            behind_first.extend(token.map(|token| at.saturating_duration_since(token)));
        }
        if is_last {
            answers += 1;
            let conversation: usize = message.split('-').nth(1).ok_or("an id")?.parse()?;
            turns[conversation] += 1;
            said.remove(&message);
            said.insert(id(conversation, turns[conversation]), Instant::now());
            let next = say(conversation, turns[conversation]);
            next.await?;
        }
    }
    let took = begun.elapsed().as_secs_f64();
    let used = processor_seconds(proxy)? - busy;
    let offered = streams as f64 * took / (THINKS + TOKEN * (TOKENS as u32 - 1)).as_secs_f64();
    println!(
        "{streams} streams, {took:.0} s: {answers} answers of {offered:.0} at the provider's pace, {:.0} pieces/s",
        deltas as f64 / took
    );
    print("added from the stored message to the first piece", &mut to_first);
    print("  of it behind the provider's first token", &mut behind_first);
    println!(
        "ai-proxy: {:.2} cores, {:.0} µs of processor time a token",
        used / took,
        used * 1e6 / f64::from(answers) / TOKENS as f64
    );
    Ok(())
}

fn print(what: &str, samples: &mut [Duration]) {
    samples.sort_unstable();
    let at = |part: usize| {
        let place = (samples.len() * part / 1000).min(samples.len().saturating_sub(1));
        samples.get(place).map_or(0.0, |it| it.as_secs_f64() * 1000.0)
    };
    println!(
        "{what}: p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, of {}",
        at(500),
        at(990),
        at(999),
        samples.len()
    );
}

fn id(conversation: usize, turn: usize) -> String {
    format!("m-{conversation}-{turn}")
}

async fn say(
    admin: &Nats,
    catalogue: &Catalogue,
    conversation: usize,
    turn: usize,
) -> Result<(), BoxError> {
    let tenant = Tenant::parse(TENANT)?;
    let name = format!("c-{conversation}");
    let message = id(conversation, turn);
    let mut events = Vec::new();
    if turn == 0 {
        events.push(("conversation.started", json!({ "conversationId": name, "userId": "7" })));
    }
    let said =
        json!({ "conversationId": name, "userId": "7", "messageId": message, "message": message });
    events.push(("conversation.message", said));
    for (kind, data) in events {
        let publication = Publication::new(kind, "/bench", data);
        let defaults = Defaults { id: ids::ordered(), now: clock::now() };
        let admitted = catalogue.admit_own(&tenant, publication, defaults)?;
        let (subject, id) = (&admitted.subject, &admitted.message_id);
        admin.event_log().publish_envelope(subject, id, &admitted.envelope, None).await?;
    }
    Ok(())
}

/// Message, when, whether it was the last of the answer and whether the first.
type Seen = (String, Instant, bool, bool);

async fn listen(admin: Nats, seen: mpsc::Sender<Seen>) {
    let Ok(mut live) = admin.subscribe(&ephemeral_filter(None)).await else { return };
    let mut lengths: HashMap<String, usize> = HashMap::new();
    while let Some(signal) = live.next().await {
        let at = Instant::now();
        if signal.headers.get("ce-type") != Some("ai.delta") {
            continue;
        }
        let Ok(data) = serde_json::from_slice::<Value>(&signal.payload) else { continue };
        let Some(message) = data["messageId"].as_str() else { continue };
        let text = data["text"].as_str().unwrap_or_default();
        let is_first = !lengths.contains_key(message);
        let length = data["offset"].as_u64().and_then(|it| usize::try_from(it).ok()).unwrap_or(0);
        let length = length + text.len();
        lengths.insert(message.to_owned(), length);
        let is_last = text.ends_with('.');
        if is_last {
            lengths.remove(message);
        }
        if seen.send((message.to_owned(), at, is_last, is_first)).await.is_err() {
            return;
        }
    }
}

async fn serve(listener: TcpListener, sent: Sent) {
    let connections = Connections::new();
    while let Ok((stream, _)) = listener.accept().await {
        let sent = sent.clone();
        connections.spawn(async move {
            // A connection that breaks is opened anew by who asks.
            let _ = connection(stream, &sent).await;
        });
    }
}

async fn connection(mut stream: TcpStream, sent: &Sent) -> Result<(), BoxError> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    loop {
        let body = loop {
            if let Some(body) = request(&mut buffer)? {
                break body;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let asked: Value = serde_json::from_slice(&body)?;
        let last = asked["messages"].as_array().and_then(|it| it.last()).ok_or("messages")?;
        let message = last["content"].as_str().ok_or("content")?.to_owned();
        sleep(THINKS).await;
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
        for token in 0..TOKENS {
            if token == 0 {
                let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
                sent.insert(message.clone(), Instant::now());
            } else {
                sleep(TOKEN).await;
            }
            let text = if token + 1 == TOKENS { "end." } else { "word " };
            let chunk =
                json!({ "id": "1", "choices": [{ "index": 0, "delta": { "content": text } }] });
            let line = format!("data: {chunk}\n\n");
            stream.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes()).await?;
        }
        stream.write_all(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n").await?;
    }
}

/// The body of a request that is whole.
fn request(buffer: &mut Vec<u8>) -> Result<Option<Vec<u8>>, BoxError> {
    let Some(end) = buffer.windows(4).position(|it| it == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|it| it.lines().next());
    let whole = end + 4 + length.ok_or("content-length")?.trim().parse::<usize>()?;
    if buffer.len() < whole {
        return Ok(None);
    }
    let body = buffer[end + 4..whole].to_vec();
    buffer.drain(..whole);
    Ok(Some(body))
}

/// What a process has used of processors so far.
fn processor_seconds(process: u32) -> Result<f64, BoxError> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').ok_or("stat")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    Ok(ticks / TICKS)
}

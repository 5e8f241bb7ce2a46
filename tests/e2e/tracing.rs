//! Spans reach a collector, and hold nothing of what people say or sign with.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::checker::{History, Start};
use crate::clients::http::Request;
use crate::clients::token::{service, token};
use crate::harness::cast::{agent, journey};
use crate::harness::{Options, Service, TENANT, TestPlatform, eventually};

/// Takes OTLP over HTTP, and keeps every body as it came.
struct Collector {
    address: SocketAddr,
    bodies: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bodies = Arc::<Mutex<Vec<String>>>::default();
        let (kept, mut serving) = (bodies.clone(), JoinSet::new());
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                connections.spawn(take(socket, kept.clone()));
            }
        });
        Self { address, bodies, _serving: serving }
    }

    /// Every span with the service that sent it.
    fn spans(&self) -> Vec<(String, Json)> {
        let mut spans = Vec::new();
        for body in self.bodies.lock().unwrap().iter() {
            let body: Json = serde_json::from_str(body).unwrap();
            for resource in body["resourceSpans"].as_array().unwrap() {
                let of = resource["resource"]["attributes"][0]["value"]["stringValue"].as_str();
                let of = of.unwrap().to_owned();
                let all = resource["scopeSpans"][0]["spans"].as_array().unwrap();
                spans.extend(all.iter().map(|span| (of.clone(), span.clone())));
            }
        }
        spans
    }

    fn span(&self, service: &str, name: &str) -> Option<Json> {
        let is_it = |(of, span): &&(String, Json)| of == service && span["name"] == name;
        self.spans().iter().find(is_it).map(|(_, span)| span.clone())
    }
}

/// One request after the other.
async fn take(mut socket: TcpStream, bodies: Arc<Mutex<Vec<String>>>) {
    let mut unread = Vec::new();
    loop {
        let head = loop {
            if let Some(end) = unread.windows(4).position(|end| end == b"\r\n\r\n") {
                let rest = unread.split_off(end + 4);
                break String::from_utf8(std::mem::replace(&mut unread, rest)).unwrap();
            }
            if socket.read_buf(&mut unread).await.unwrap_or(0) == 0 {
                return;
            }
        };
        assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
        let length = head.to_ascii_lowercase();
        let length = length.split("content-length: ").nth(1).unwrap();
        let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
        while unread.len() < length {
            assert!(socket.read_buf(&mut unread).await.unwrap() > 0, "the body broke off");
        }
        let body: Vec<u8> = unread.drain(..length).collect();
        bodies.lock().unwrap().push(String::from_utf8(body).unwrap());
        let answer =
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
        socket.write_all(answer).await.unwrap();
    }
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const WORDS: &str = "nobody but the two of us";

#[tokio::test]
async fn requests_commands_and_connections_are_spans_without_secrets_or_words() {
    journey(90, async {
        let (collector, history) = (Collector::start().await, History::new());
        let endpoint = format!("http://{}", collector.address);
        let options = [Service::Gateway, Service::Ingest]
            .into_iter()
            .fold(Options::default(), |options, of| {
                options.set(of, "OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)
            });
        let platform = TestPlatform::start_with(options).await;
        let (backend, user) = (service(TENANT), token(TENANT, "7", "user"));
        let event = json!({ "type": "system.notification", "data": {
            "notification": { "type": "info", "title": "Words", "message": WORDS },
        } });
        let publication = Request::post("/v1/events")
            .header("traceparent", &format!("00-{TRACE}-{PARENT}-01"))
            .bearer(&backend)
            .json(&event);
        let answer = publication.send(platform.ingest()).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let command = json!({ "type": "conversation.start", "data": { "avatarId": "maya" } });
        let command = Request::post(&format!("/v1/commands?token={user}")).json(&command);
        let answer = command.send(platform.gateway()).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let mut socket = agent(&history, "ann");
        socket.connect(platform.gateway()).await.unwrap();
        socket.join("team", Start::Now).await.unwrap();
        socket.cut();

        let awaited = [
            ("e2e-ingest", "POST /v1/events"),
            ("e2e-ingest", "decision"),
            ("e2e-gateway", "POST /v1/commands"),
            ("e2e-gateway", "command"),
            ("e2e-gateway", "connection"),
        ];
        for (of, name) in awaited {
            let what = format!("{of} tells of {name}");
            eventually(Duration::from_secs(20), &what, async || collector.span(of, name).is_some())
                .await;
        }
        let published = collector.span("e2e-ingest", "POST /v1/events").unwrap();
        assert_eq!(
            (&published["traceId"], &published["parentSpanId"]),
            (&json!(TRACE), &json!(PARENT))
        );
        let status = json!({ "key": "http.response.status_code", "value": { "intValue": "200" } });
        assert!(published["attributes"].as_array().unwrap().contains(&status), "{published}");
        // What the request asked for is part of its trace.
        let request = collector.span("e2e-gateway", "POST /v1/commands").unwrap();
        let command = collector.span("e2e-gateway", "command").unwrap();
        assert_eq!(command["traceId"], request["traceId"]);
        assert_eq!(command["parentSpanId"], request["spanId"]);
        for body in collector.bodies.lock().unwrap().iter() {
            for hidden in [WORDS, &*backend, &*user, "token=", "maya"] {
                assert!(!body.contains(hidden), "{hidden} in {body}");
            }
        }
        platform.finish().await;
    })
    .await;
}

//! One nats-server and one ingest per test, and a client that signs like the providers do.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use domain::identity::Role;
use domain::signatures::{elevenlabs, standard_webhooks, twilio, whatsapp};
use domain::token::Tenant;
use http::{Request, StatusCode};
use ingest::{Config, Listeners};
use runtime::LogMessage;
use runtime::auth::NewToken;
use runtime::clock;
use runtime::config::Secret;
use runtime::http_client::{Client, Limits};
use runtime::log_reader::LogReader;
use runtime::nats::Nats;
use runtime::provision::{self, ApplyOptions, Definitions};
use runtime::tasks::{BoxError, Owned, owned};
use runtime::test_support::TestNats;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

pub(crate) const PUBLIC: &str = "https://hooks.example.com";
pub(crate) const TOKEN_SECRET: &str = "a secret of more than thirty-two characters";
pub(crate) const PLATFORM_KEY: &str = "a platform key of more than thirty-two characters";
pub(crate) const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub(crate) const SID: &str = "CA00000000000000000000000000000042";

const SOURCES: &str = r#"
[[source]]
name = "acme-twilio"
provider = "twilio"
tenant = "acme"
secrets = ["newest", "still-valid"]
public_url = "https://hooks.example.com"
owner = "7"
default = true
[[source]]
name = "acme-desk"
provider = "callerdesk"
tenant = "acme"
secrets = ["path-secret"]
allow_from = ["10.0.0.0/8"]
default = true
[[source]]
name = "acme-wa"
provider = "whatsapp"
tenant = "acme"
secrets = ["app-secret"]
verify_token = "verify-me"
accounts = { "1055" = "account-7" }
[[source]]
name = "acme-voice"
provider = "elevenlabs"
tenant = "acme"
secrets = ["voice-secret"]
[[source]]
name = "acme-any"
provider = "standard"
tenant = "acme"
secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
"#;

pub(crate) struct Platform {
    pub nats: TestNats,
    pub ingest: Option<Ingest>,
    folder: TempDir,
}

pub(crate) struct Ingest {
    pub http: SocketAddr,
    pub ops: SocketAddr,
    shutdown: CancellationToken,
    task: Owned<Result<(), BoxError>>,
}

impl Platform {
    pub(crate) async fn start() -> Self {
        let mut platform = Self::without_ingest(TestNats::start().await);
        platform.start_ingest().await;
        platform.ready().await;
        platform
    }

    /// Streams that recognise repeats by themselves for a tenth of a second only.
    pub(crate) async fn start_with_short_duplicate_window() -> Self {
        let window = r#""duplicate_window": "#;
        Self::start_with(&format!(r#"{window}"2m""#), &format!(r#"{window}"100ms""#)).await
    }

    /// With another setting in all that is provisioned.
    pub(crate) async fn start_with(usual: &str, instead: &str) -> Self {
        let nats = TestNats::start_empty().await;
        let folder = tempfile::tempdir().unwrap();
        let declared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../nats");
        for part in ["streams", "consumers", "buckets", "objects"] {
            std::fs::create_dir(folder.path().join(part)).unwrap();
            for file in std::fs::read_dir(declared.join(part)).unwrap() {
                let file = file.unwrap();
                let text = std::fs::read_to_string(file.path()).unwrap();
                let text = text.replace(usual, instead);
                std::fs::write(folder.path().join(part).join(file.file_name()), text).unwrap();
            }
        }
        let definitions = Definitions::load(folder.path()).unwrap();
        let admin = nats.nats("admin").await;
        provision::apply(&admin, &definitions, ApplyOptions::default()).await.unwrap();
        let mut platform = Self::without_ingest(nats);
        platform.start_ingest().await;
        platform.ready().await;
        platform
    }

    pub(crate) fn without_ingest(nats: TestNats) -> Self {
        Self { nats, ingest: None, folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) async fn start_ingest(&mut self) {
        self.start_ingest_with(&[]).await;
    }

    /// With further variables.
    pub(crate) async fn start_ingest_with(&mut self, more: &[(&str, &str)]) {
        let sources = self.folder.path().join("sources.toml");
        std::fs::write(&sources, SOURCES).unwrap();
        let given = [
            ("NATS_URL", self.nats.url("ingest")),
            ("SOURCES_FILE", sources.display().to_string()),
            ("JWT_SECRET", TOKEN_SECRET.to_owned()),
            ("PLATFORM_KEY", PLATFORM_KEY.to_owned()),
        ];
        let mut given: HashMap<String, String> =
            given.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        given.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let config = Config::read(&given).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ops = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (shutdown, at) = (CancellationToken::new(), http.local_addr().unwrap());
        let ops_at = ops.local_addr().unwrap();
        let listeners = Listeners { http: vec![http], ops };
        let task = owned(Box::pin(ingest::run(config, listeners, shutdown.clone())));
        self.ingest = Some(Ingest { http: at, ops: ops_at, shutdown, task });
    }

    /// Ends ingest in order; fails the test if it does not end well.
    pub(crate) async fn stop_ingest(&mut self) {
        let ingest = self.ingest.take().unwrap();
        ingest.shutdown.cancel();
        ingest.task.join().await.expect("no panic").expect("an orderly end");
    }

    pub(crate) async fn ready(&self) {
        let ops = self.ingest.as_ref().unwrap().ops;
        eventually("ingest is ready", async || {
            let request = Request::get(format!("http://{ops}/readyz")).body(Bytes::new()).unwrap();
            client().send(request).await.is_ok_and(|answer| answer.status() == StatusCode::OK)
        })
        .await;
    }

    /// What is counted, as Prometheus reads it.
    pub(crate) async fn metrics(&self) -> String {
        let ops = self.ingest.as_ref().unwrap().ops;
        let request = Request::get(format!("http://{ops}/metrics")).body(Bytes::new()).unwrap();
        let answer = client().send(request).await.unwrap();
        String::from_utf8_lossy(answer.body()).into_owned()
    }

    pub(crate) async fn send(&self, request: Request<Bytes>) -> Answer {
        let address = self.ingest.as_ref().unwrap().http;
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().unwrap().as_str();
        parts.uri = format!("http://{address}{path}").parse().unwrap();
        let answer = client().send(Request::from_parts(parts, body)).await.unwrap();
        Answer {
            status: answer.status(),
            retry_after: answer.headers().contains_key("retry-after"),
            headers: answer.headers().clone(),
            body: serde_json::from_slice(answer.body()).unwrap_or(Value::Null),
            text: String::from_utf8_lossy(answer.body()).into_owned(),
        }
    }

    pub(crate) async fn twilio(&self, path: &str, form: &str) -> Answer {
        let signature =
            twilio::sign_form(b"still-valid", &format!("{PUBLIC}{path}"), form.as_bytes());
        self.post(path, &[(twilio::HEADER, &signature)], form).await
    }

    pub(crate) async fn whatsapp(&self, body: &str) -> Answer {
        let signature = whatsapp::sign(b"app-secret", body.as_bytes());
        self.post("/webhooks/acme-wa/events", &[(whatsapp::HEADER, &signature)], body).await
    }

    pub(crate) async fn elevenlabs(&self, secret: &[u8], body: &str) -> Answer {
        let signature = elevenlabs::sign(secret, body.as_bytes(), clock::now());
        let headers = [(elevenlabs::HEADER, signature.as_str())];
        self.post("/webhooks/acme-voice/post-call", &headers, body).await
    }

    pub(crate) async fn standard(&self, id: &str, body: &str) -> Answer {
        let key = standard_webhooks::Key::parse(KEY).unwrap();
        let (at, signature) = standard_webhooks::sign(&key, id, body.as_bytes(), clock::now());
        let headers = [
            (standard_webhooks::ID_HEADER, id),
            (standard_webhooks::TIMESTAMP_HEADER, at.as_str()),
            (standard_webhooks::SIGNATURE_HEADER, signature.as_str()),
        ];
        self.post("/webhooks/acme-any/anything", &headers, body).await
    }

    /// By a token of this role.
    pub(crate) async fn publish(&self, role: Role, headers: &[(&str, &str)], body: &str) -> Answer {
        let bearer = format!("Bearer {}", token(role));
        let mut all = vec![("authorization", bearer.as_str())];
        all.extend(headers);
        self.post("/v1/events", &all, body).await
    }

    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Bytes::copy_from_slice(body.as_bytes())).unwrap()).await
    }

    pub(crate) async fn admin(&self) -> Nats {
        self.nats.nats("admin").await
    }

    /// How many messages a stream holds.
    pub(crate) async fn count(&self, stream: &str) -> u64 {
        self.reader().await.stream_info(stream).await.unwrap().messages
    }

    /// Asserts that an answer's event is stored where it says, and returns it.
    #[track_caller]
    pub(crate) fn stored(&self, event: &Value) -> impl Future<Output = LogMessage> {
        let stream = event["stream"].as_str().expect("a stream").to_owned();
        let sequence = event["sequence"].as_u64().expect("a sequence");
        let reader = self.reader();
        async move { reader.await.get(&stream, sequence).await.unwrap().expect("it is stored") }
    }

    pub(crate) fn reader(&self) -> impl Future<Output = LogReader> {
        let admin = self.admin();
        async move { admin.await.log_reader() }
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub status: StatusCode,
    pub retry_after: bool,
    pub headers: http::HeaderMap,
    pub body: Value,
    pub text: String,
}

impl Answer {
    /// The only event of an answer that says yes.
    #[track_caller]
    pub(crate) fn event(&self) -> &Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text);
        let events = self.body["events"].as_array().expect("events");
        assert_eq!(events.len(), 1, "{}", self.text);
        &events[0]
    }

    #[track_caller]
    pub(crate) fn is(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status.as_u16(), &self.body["code"]),
            (status, &code.into()),
            "{}",
            self.text
        );
    }
}

pub(crate) fn token(role: Role) -> String {
    let tenant = Tenant::parse("acme").unwrap();
    let token = NewToken::new(&tenant, "7", role, clock::unix_seconds(), 600);
    token.sign(&Secret::new(TOKEN_SECRET)).unwrap()
}

fn client() -> Client {
    let limits = Limits { deadline: Duration::from_secs(20), max_body: 1 << 20 };
    Client::new(limits).unwrap()
}

pub(crate) fn call_status(status: &str, number: u32) -> String {
    format!(
        "CallSid={SID}&CallStatus={status}&SequenceNumber={number}&From=%2B15005550006&To=%2B14155551212&Direction=outbound-api"
    )
}

/// Waits until `holds`, at most ten seconds.
#[track_caller]
pub(crate) fn eventually<F>(what: &str, mut holds: F) -> impl Future<Output = ()>
where
    F: AsyncFnMut() -> bool,
{
    let what = what.to_owned();
    async move {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !holds().await {
            assert!(Instant::now() < deadline, "not in time: {what}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

//! What stands around an application in its journey: the platform, the providers that call it, the backend that
//! publishes, the operator who kills it. The journey asks, and is answered when it is done.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::rows;
use crate::clients::events::publish_for;
use crate::clients::http::{PATIENCE, Request};
use crate::clients::scripts::Script;
use crate::clients::signatures::{twilio, twilio_json};
use crate::clients::token::{claims, sign, sign_with};
use crate::harness::{
    Options, PUBLIC_URL, Service, TENANT, TWILIO, TestPlatform, eventually, free_port,
};

/// The call dashboard's pages, whose client brings no credential.
const DASHBOARD: &str = "http://localhost:3000";
/// The CRM's pages, whose sessions its own check judges.
const CRM: &str = "https://crm.example.com";
const EZRI_SECRET: &str = "ezri-secret-that-its-own-backend-signs-with";

/// The applications as their operator configures them, besides the tests' own. `backend` is one application's own.
fn applications(backend: SocketAddr) -> String {
    format!(
        r#"
[[application]]
name = "dashboard"
tenant = "{TENANT}"
origins = ["{DASHBOARD}"]
key = {{ secret = "dashboard-secret-that-nobody-signs-with-0123" }}
anonymous = "agent"

[[application]]
name = "ezri"
tenant = "{TENANT}"
origins = []
key = {{ secret = "{EZRI_SECRET}" }}
expiry = "at-connect"
roles = {{ super = "admin" }}

[[application]]
name = "crm"
tenant = "from-token"
origins = ["{CRM}"]
key = {{ secret = "crm-secret-that-nobody-signs-with-0123456789" }}
auth_proxy = "http://{backend}/api/session"
"#
    )
}

pub(super) struct Stage {
    seed: &'static str,
    script: &'static str,
    options: Options,
    /// Where the journey listens as the service of somebody else's that the platform calls.
    provider: SocketAddr,
    folder: TempDir,
}

impl Stage {
    pub(super) fn new(seed: &'static str, script: &'static str) -> Self {
        let provider = free_port();
        let options = Options::default().applications(applications(provider));
        Self { seed, script, options, provider, folder: TempDir::new().unwrap() }
    }

    /// The calls are those of an account at Twilio.
    pub(super) fn with_twilio(self) -> Self {
        let url = format!("http://{}", self.provider);
        self.set(Service::Ingest, "TWILIO_ACCOUNT_SID", "AC0123456789abcdef0123456789abcdef")
            .set(Service::Ingest, "TWILIO_AUTH_TOKEN", TWILIO)
            .set(Service::Ingest, "TWILIO_API_URL", &url)
    }

    /// The tenant's own AI service, which answers as a whole; another tenant's streams.
    pub(super) fn with_ai(mut self) -> Self {
        let file = self.folder.path().join("ai.toml");
        std::fs::write(&file, "[[tenant]]\ntenant = \"globex\"\nprovider = \"scripted\"\n")
            .unwrap();
        let url = format!("http://{}", self.provider);
        self.options = self.options.with_ai();
        self.set(Service::AiProxy, "AI_PROVIDER", "ezri")
            .set(Service::AiProxy, "AI_SERVICE_URL", &url)
            .set(Service::AiProxy, "AI_FILE", file.to_str().unwrap())
    }

    pub(super) fn set(mut self, service: Service, name: &'static str, value: &str) -> Self {
        self.options = self.options.set(service, name, value);
        self
    }

    /// Runs the journey to its end and compares what it has proved with what is listed.
    pub(super) async fn play(self) {
        let mut platform = TestPlatform::start_with(self.options).await;
        let mut settings = settings(&platform, self.seed);
        settings["provider"] = json!(self.provider.port());
        let settings = settings.to_string();
        let name = format!("applications/seeds/{}.mjs", self.script);
        let mut script = Script::node(&name, &[("SETTINGS", &settings)]);
        let mut proved = BTreeSet::new();
        loop {
            let line = script.answer_within(PATIENCE * 6).await;
            assert!(line["failed"].is_null(), "{}", line["failed"].as_str().unwrap());
            if line["done"] == true {
                break;
            }
            match line["row"].as_str() {
                Some(row) => assert!(proved.insert(row.to_owned()), "twice: {row}"),
                None => {
                    let answer = serve(&mut platform, &line).await;
                    script.tell(&answer).await;
                }
            }
        }
        rows::compare(self.seed, &proved);
        platform.finish().await;
    }
}

/// The users and their tokens, as each application's backend signs them.
fn settings(platform: &TestPlatform, seed: &str) -> Json {
    let gateway = platform.gateway();
    let ezri = |user: &str, role: &str| {
        let email = format!("{user}@example.com");
        sign_with(&json!({ "userId": user, "email": email, "role": role }), EZRI_SECRET)
    };
    let of = |tenant: &str, user: &str, role: &str| sign(&claims(tenant, user, role));
    json!({
        "url": format!("http://{gateway}"),
        "websocket": format!("ws://{gateway}/ws"),
        "origin": if seed == "000" { DASHBOARD } else { crate::harness::ORIGIN },
        "crm": CRM,
        // The page of an application that lets guests in.
        "lobby": DASHBOARD,
        "tenant": TENANT,
        "users": { "crm": "crm-7", "agent": "agent-1", "user": "user-7", "super": "super-1" },
        "tokens": {
            "crm": of(TENANT, "crm-7", "agent"),
            "customer": of(TENANT, "customer-9", "user"),
            "elsewhere": of("globex", "crm-7", "agent"),
            "agent": of(TENANT, "agent-1", "agent"),
            "admin": of(TENANT, "admin-1", "admin"),
            "user": ezri("user-7", "user"),
            "super": ezri("super-1", "super"),
            "second": ezri("admin-2", "admin"),
            "streamed": of("globex", "user-9", "user"),
        },
    })
}

async fn serve(platform: &mut TestPlatform, line: &Json) -> Json {
    match line["ask"].as_str().unwrap() {
        "publish" => {
            let audience: Vec<&str> =
                line["audience"].as_array().unwrap().iter().filter_map(Json::as_str).collect();
            let name = line["name"].as_str().unwrap();
            publish_for(platform.ingest(), TENANT, name, &line["data"], &audience).await;
        }
        "twilio" => webhook(platform, by_twilio(line)).await,
        "callerdesk" => {
            let path = "/api/callerdesk/webhook/callerdesk-path-secret";
            webhook(platform, Request::post(path).json(&line["body"])).await;
        }
        "kill" => platform.kill(service_of(line)),
        "restart" => platform.restart(service_of(line)).await,
        "streams" => return json!({ "count": streams(platform).await }),
        "stored" => return stored(platform, line["category"].as_str().unwrap()).await,
        other => panic!("nobody does {other}"),
    }
    json!({ "ok": true })
}

/// Which process is meant; the gateway where the journey does not say.
fn service_of(line: &Json) -> Service {
    match line["service"].as_str() {
        None => Service::Gateway,
        Some("replay") => Service::Replay,
        Some(other) => panic!("nobody runs {other}"),
    }
}

fn by_twilio(line: &Json) -> Request {
    let path = line["path"].as_str().unwrap();
    let Some(form) = line["form"].as_object() else {
        return twilio_json(path, PUBLIC_URL, TWILIO, &line["json"].to_string());
    };
    let form: Vec<(&str, &str)> =
        form.iter().map(|(name, value)| (&**name, value.as_str().unwrap())).collect();
    twilio(path, PUBLIC_URL, TWILIO, &form)
}

async fn webhook(platform: &TestPlatform, request: Request) {
    let answer = request.send(platform.ingest()).await.unwrap();
    assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
}

/// Open event streams, as the gateway itself counts them.
async fn streams(platform: &TestPlatform) -> u64 {
    let operations = platform.operations(Service::Gateway);
    let answer = Request::get("/metrics").send(operations).await.unwrap().text();
    let line = answer.lines().find(|line| line.starts_with("throughline_gateway_event_streams"));
    line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

/// The data of the event of a category that was stored last, as a backend reads it from the log.
async fn stored(platform: &TestPlatform, category: &str) -> Json {
    let admin = platform.admin().await;
    let subject = format!("events.{TENANT}.{category}.>");
    let mut found = None;
    eventually(Duration::from_secs(10), "the event is in the log", async || {
        found = admin.last(&subject).await;
        found.is_some()
    })
    .await;
    found.unwrap()
}

//! The real `@trpc/client` on the platform's subscription: every transformer and mode, both ways of resuming, and
//! neither a loss nor a repetition whatever happens to the connection.

use std::net::SocketAddr;

use serde_json::{Value as Json, json};

use crate::chaos::{Direction, Proxy};
use crate::clients::http::{PATIENCE, Request};
use crate::clients::scripts::Script;
use crate::clients::token::token;
use crate::gaps::expire;
use crate::harness::cast::journey;
use crate::harness::{Options, Service, TENANT, TestPlatform};

/// A CRM's page: how it asks, and what it has been given.
struct Page {
    name: &'static str,
    path: &'static str,
    tracked: bool,
    transformed: bool,
    /// As the client of batched queries sends it.
    batch_stream: bool,
    input: Json,
    received: Vec<u64>,
    /// The ids in tracked mode.
    ids: Vec<String>,
}

fn page(name: &'static str, path: &'static str) -> Page {
    let (received, ids) = (Vec::new(), Vec::new());
    let (tracked, transformed, batch_stream) = (false, false, false);
    Page { name, path, tracked, transformed, batch_stream, input: Json::Null, received, ids }
}

fn pages() -> Vec<Page> {
    let seed = page("as 003 does it", "callLog.onCallEvent");
    let router = page("by the router's file", "call.onCallEvent");
    let tracked = page("tracked", "callLog.onCallEvent");
    let streamed = page("beside batched queries", "call.onCallEvent");
    vec![
        Page { transformed: true, ..seed },
        Page { input: json!({ "workspaceId": "acme" }), ..router },
        Page { tracked: true, transformed: true, batch_stream: true, ..tracked },
        Page { tracked: true, batch_stream: true, ..streamed },
    ]
}

/// One Node process with all pages in it.
struct Crm {
    script: Script,
    pages: Vec<Page>,
    /// What was told and is no value: requests, states, errors.
    told: Vec<Json>,
}

impl Crm {
    async fn open(pages: Vec<Page>, to: SocketAddr) -> Self {
        let script = Script::node("applications/trpc.mjs", &[]);
        let mut crm = Self { script, pages, told: Vec::new() };
        let cookie = format!("theme=dark; token={}", token(TENANT, "maya", "agent"));
        for at in 0..crm.pages.len() {
            crm.subscribe(at, to, &cookie).await;
        }
        for at in 0..crm.pages.len() {
            let name = crm.pages[at].name;
            crm.until(|told| told["name"] == name && told["kind"] == "started").await;
        }
        crm
    }

    async fn subscribe(&mut self, at: usize, to: SocketAddr, cookie: &str) {
        let page = &self.pages[at];
        let query = if page.tracked { "?tracked=1" } else { "" };
        let mut headers = json!({ "cookie": cookie, "origin": crate::harness::ORIGIN });
        if page.batch_stream {
            headers["trpc-accept"] = json!("application/jsonl");
        }
        let mut line = json!({
            "op": "subscribe", "name": page.name, "path": page.path, "headers": headers,
            "url": format!("http://{to}/api/trpc{query}"), "transformed": page.transformed,
        });
        if !page.input.is_null() {
            line["input"] = page.input.clone();
        }
        self.script.tell(&line).await;
    }

    async fn take(&mut self) {
        let line = self.script.answer().await;
        let Some(page) = self.pages.iter_mut().find(|page| line["name"] == page.name) else {
            return self.told.push(line);
        };
        let data = if page.tracked { &line["data"]["data"] } else { &line["data"] };
        if data["type"] != "call_completed" {
            return self.told.push(line);
        }
        if page.tracked {
            page.ids.push(line["data"]["id"].as_str().unwrap().to_owned());
        }
        page.received.push(data["durationSeconds"].as_u64().unwrap());
    }

    /// Reads on until something like this has been told.
    async fn until(&mut self, is_it: impl Fn(&Json) -> bool) -> Json {
        loop {
            if let Some(at) = self.told.iter().position(&is_it) {
                return self.told.remove(at);
            }
            self.take().await;
        }
    }

    /// Reads until every page has so many calls, and proves that they are the first ones, each once and in order.
    async fn receive(&mut self, total: u64) {
        while self.pages.iter().any(|page| (page.received.len() as u64) < total) {
            self.take().await;
        }
        let all: Vec<u64> = (1..=total).collect();
        for page in &self.pages {
            assert_eq!(page.received, all, "{}", page.name);
        }
    }

    /// The position that the last reconnect of a page named: in the header, and in the input.
    fn resumed(&self, name: &str) -> (Option<String>, Option<String>) {
        let request =
            self.told.iter().rev().find(|it| it["name"] == name && it["kind"] == "request");
        let request = request.unwrap();
        let url = request["url"].as_str().unwrap();
        let input = url.split("lastEventId%22%3A%22").nth(1);
        let input = input.and_then(|rest| rest.split('%').next()).map(str::to_owned);
        (request["lastEventId"].as_str().map(str::to_owned), input)
    }
}

/// Calls that end, as the provider reports them: the n-th has lasted for n seconds.
pub(crate) async fn report(ingest: SocketAddr, calls: std::ops::RangeInclusive<u64>) {
    for seconds in calls {
        let report = json!({
            "type": "call_report", "SourceNumber": "1234567890", "DestinationNumber": "9876543210",
            "CallSid": format!("1672649960.{seconds}"), "CallDuration": seconds.to_string(),
            "Status": "ANSWER", "Direction": "WEBOBD",
            "StartTime": "2024-01-01T10:00:00Z", "EndTime": "2024-01-01T10:02:00Z",
        });
        let request = Request::post("/api/callerdesk/webhook/callerdesk-path-secret").json(&report);
        let answer = request.send(ingest).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[tokio::test]
async fn a_subscription_of_the_trpc_client_misses_and_repeats_nothing_over_kills_of_the_gateway() {
    journey(120, async {
        let mut platform = TestPlatform::start().await;
        let mut crm = Crm::open(pages(), platform.gateway()).await;
        // Killed before the first value, and in the middle.
        platform.kill(Service::Gateway);
        report(platform.ingest(), 1..=10).await;
        platform.restart(Service::Gateway).await;
        crm.receive(10).await;
        report(platform.ingest(), 11..=20).await;
        crm.receive(20).await;
        platform.kill(Service::Gateway);
        report(platform.ingest(), 21..=60).await;
        platform.restart(Service::Gateway).await;
        crm.receive(60).await;
        report(platform.ingest(), 61..=65).await;
        crm.receive(65).await;
        for page in &crm.pages {
            let (header, _) = crm.resumed(page.name);
            assert!(header.is_some(), "{}", page.name);
            assert_eq!(page.ids.len(), if page.tracked { 65 } else { 0 });
        }
        let live = json!({
            "type": "live_call", "SourceNumber": "1234567890", "DestinationNumber": "9876543210",
            "Status": "Picked", "CallSid": "1672649960.1000",
        });
        let request = Request::post("/api/callerdesk/webhook/callerdesk-path-secret").json(&live);
        assert_eq!(request.send(platform.ingest()).await.unwrap().status, 200);
        for at in 0..crm.pages.len() {
            let (name, tracked) = (crm.pages[at].name, crm.pages[at].tracked);
            let line = crm.until(|told| told["name"] == name && told["kind"] == "data").await;
            let data = if tracked { &line["data"]["data"] } else { &line["data"] };
            assert_eq!((&data["type"], &data["status"]), (&json!("live_call"), &json!("Picked")));
        }
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_subscription_on_a_dead_line_is_made_anew_with_its_last_id_in_the_input() {
    journey(120, async {
        let options = Options::default().set(Service::Gateway, "HEARTBEAT_MS", "500");
        let platform = TestPlatform::start_with(options).await;
        let proxy = Proxy::start(platform.gateway()).await;
        let tracked = pages().into_iter().filter(|page| page.tracked).collect();
        let mut crm = Crm::open(tracked, proxy.address).await;
        report(platform.ingest(), 1..=5).await;
        crm.receive(5).await;
        proxy.black_hole(Direction::ToClient);
        report(platform.ingest(), 6..=25).await;
        for at in 0..crm.pages.len() {
            let name = crm.pages[at].name;
            let anew = |told: &Json| {
                let url = told["url"].as_str().unwrap_or_default();
                told["name"] == name && url.contains("lastEventId")
            };
            let request = crm.until(anew).await;
            crm.told.push(request);
        }
        proxy.heal();
        crm.receive(25).await;
        for page in &crm.pages {
            let (header, input) = crm.resumed(page.name);
            assert_eq!((header, input.as_ref()), (None, page.ids.get(4)), "{}", page.name);
        }
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_subscription_that_is_told_of_a_gap_keeps_its_place_behind_it() {
    journey(150, async {
        let mut platform = TestPlatform::start().await;
        let mut crm = Crm::open(pages(), platform.gateway()).await;
        report(platform.ingest(), 1..=3).await;
        crm.receive(3).await;
        platform.kill(Service::Gateway);
        report(platform.ingest(), 4..=6).await;
        let head = platform.admin().await.state("CALLS").await.last_sequence;
        // All of it: nothing comes behind the gap that would bring a position of its own.
        expire(&mut platform, "CALLS", head + 1).await;
        for at in 0..crm.pages.len() {
            let (name, tracked) = (crm.pages[at].name, crm.pages[at].tracked);
            let data = |told: &Json| {
                if tracked { told["data"]["data"].clone() } else { told["data"].clone() }
            };
            let is_gap =
                |told: &Json| told["name"] == name && data(told)["type"] == "throughline:gap";
            let told = crm.until(is_gap).await;
            assert_eq!(data(&told)["reason"], "expired", "{told}");
            assert_eq!(told["data"]["id"].is_string(), tracked, "{told}");
        }
        platform.kill(Service::Gateway);
        report(platform.ingest(), 7..=9).await;
        platform.restart(Service::Gateway).await;
        while crm.pages.iter().any(|page| page.received.len() < 6) {
            crm.take().await;
        }
        for page in &crm.pages {
            assert_eq!(page.received, [1, 2, 3, 7, 8, 9], "{}", page.name);
        }
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_subscription_without_a_session_fails_for_good_and_says_why() {
    journey(60, async {
        let platform = TestPlatform::start().await;
        let mut crm = Crm {
            script: Script::node("applications/trpc.mjs", &[]),
            pages: pages(),
            told: Vec::new(),
        };
        for (at, (cookie, message)) in [
            ("theme=dark", "Authentication token required"),
            ("token=nonsense", "Invalid authentication token"),
            ("token=", "Authentication token required"),
        ]
        .into_iter()
        .enumerate()
        {
            crm.subscribe(at, platform.gateway(), cookie).await;
            let name = crm.pages[at].name;
            let error = crm.until(|told| told["name"] == name && told["kind"] == "error").await;
            assert_eq!(error["message"], message, "{error}");
            assert_eq!(error["data"]["code"], "UNAUTHORIZED", "{error}");
        }
        // Another site's page may not use the cookie that the browser sends along.
        let line = json!({
            "op": "subscribe", "name": "elsewhere", "path": "call.onCallEvent",
            "url": format!("http://{}/api/trpc", platform.gateway()), "transformed": false,
            "headers": {
                "cookie": format!("token={}", token(TENANT, "maya", "agent")),
                "origin": "https://elsewhere.example",
            },
        });
        crm.script.tell(&line).await;
        let error = crm.until(|told| told["name"] == "elsewhere" && told["kind"] == "error").await;
        assert!(error["message"].is_string(), "{error}");
        tokio::time::timeout(PATIENCE, platform.finish()).await.unwrap();
    })
    .await;
}

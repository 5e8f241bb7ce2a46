//! Calls are ended at their provider, or it is told why not.

use std::time::Duration;

use domain::Role;
use domain::envelope::header;
use runtime::test_support::TestNats;
use serde_json::{Value, json};

use crate::commander::{Asked, Commander};
use crate::elsewhere::{Elsewhere, Reaction};
use crate::harness::{Platform, SID, call_status, eventually};

const AGENT: (&str, Role) = ("7", Role::Agent);

struct Desk {
    platform: Platform,
    commander: Commander,
    url: Option<String>,
}

impl Desk {
    /// With a call that is going on; without an address nothing is configured.
    async fn open(provider: Option<&Elsewhere>) -> Self {
        let platform = Platform::without_ingest(TestNats::start().await);
        let commander = Commander::new(&platform).await;
        let mut desk = Self { platform, commander, url: provider.map(|p| p.url.clone()) };
        desk.start().await;
        let ringing = call_status("in-progress", 1);
        desk.platform.twilio("/webhooks/acme-twilio/call-status", &ringing).await.event();
        desk
    }

    async fn start(&mut self) {
        let url = self.url.clone().unwrap_or_default();
        let given = [
            ("TWILIO_ACCOUNT_SID", "AC1"),
            ("TWILIO_AUTH_TOKEN", "token"),
            ("TWILIO_API_URL", &*url),
        ];
        let given = if self.url.is_some() { &given[..] } else { &[] };
        self.platform.start_ingest_with(given).await;
        self.platform.ready().await;
    }

    async fn terminate(&self) -> Value {
        let asked = Asked::new("call.terminate", SID, AGENT, json!({ "callSid": SID }));
        self.commander.ask(&asked).await
    }

    async fn told(&self, event_type: &str) -> Vec<Value> {
        let reader = self.platform.reader().await;
        let last = reader.stream_info("CALLS").await.unwrap().last_sequence;
        let sequences: Vec<_> = (1..=last).collect();
        let messages = reader.get_many("CALLS", &sequences).await.unwrap().into_iter().flatten();
        let of_type = messages.filter(|m| m.headers.get(header::TYPE) == Some(event_type));
        of_type.map(|message| serde_json::from_slice(&message.payload).unwrap()).collect()
    }

    async fn has_told(&self, event_type: &str) -> Value {
        eventually(event_type, async || !self.told(event_type).await.is_empty()).await;
        let mut told = self.told(event_type).await;
        assert_eq!(told.len(), 1, "{told:?}");
        told.remove(0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_ended_at_its_provider_however_often_that_fails_first() {
    let busy = [Reaction::Answer(503, ""), Reaction::Answer(429, "")];
    let twilio = Elsewhere::start(&busy).await;
    let desk = Desk::open(Some(&twilio)).await;
    assert_eq!(desk.terminate().await["ok"], true);
    let done = desk.has_told("call.termination.done").await;
    assert_eq!((&done["callSid"], &done["requestedBy"]), (&json!(SID), &json!("7")));
    let heard = twilio.heard();
    assert_eq!(heard.len(), 3);
    for request in &heard {
        let path = format!("/2010-04-01/Accounts/AC1/Calls/{SID}.json");
        assert_eq!((&*request.method, &request.path), ("POST", &path));
        assert_eq!(request.body, "Status=completed");
        assert_eq!(request.header("authorization"), "Basic QUMxOnRva2Vu");
        assert_eq!(request.header("content-type"), "application/x-www-form-urlencoded");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_refuses_is_not_tried_again() {
    let twilio = Elsewhere::start(&[Reaction::Answer(404, r#"{"code":20404}"#)]).await;
    let desk = Desk::open(Some(&twilio)).await;
    desk.terminate().await;
    let failed = desk.has_told("call.termination.failed").await;
    assert_eq!(failed["error"], "Twilio answered 404.");
    assert_eq!(twilio.heard().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_over_already_counts_as_ended() {
    let over = [
        Reaction::Answer(400, r#"{"code":21220,"status":400}"#),
        Reaction::Answer(200, r#"{"status":"completed"}"#),
    ];
    let twilio = Elsewhere::start(&over).await;
    let desk = Desk::open(Some(&twilio)).await;
    desk.terminate().await;
    desk.has_told("call.termination.done").await;
    assert_eq!(twilio.heard().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_provider_it_is_told_why_nothing_happens() {
    let desk = Desk::open(None).await;
    desk.terminate().await;
    let failed = desk.has_told("call.termination.failed").await;
    assert!(failed["error"].as_str().unwrap().contains("TWILIO_ACCOUNT_SID"), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_the_provider_is_being_asked_forgets_nothing() {
    let twilio = Elsewhere::start(&[Reaction::Silence]).await;
    let mut desk = Desk::open(Some(&twilio)).await;
    desk.terminate().await;
    twilio.has_heard(1).await;
    desk.platform.ingest = None;
    desk.start().await;
    // What the killed one held comes again after the consumer's `ack_wait`.
    let within = tokio::time::Instant::now() + Duration::from_secs(45);
    while desk.told("call.termination.done").await.is_empty() {
        assert!(tokio::time::Instant::now() < within, "the call goes on");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(twilio.heard().len(), 2);
}

use domain::StreamId;
use domain::protection::WrappingKeys;
use domain::token::{Tenant, Token};
use runtime::metrics::Metrics as Counts;
use runtime::tasks::owned;
use runtime::test_support::TestNats;
use runtime::vault::Vault;
use time::Duration;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::memory::{self, Memory};
use crate::metrics::Metrics;
use crate::sources::Sources;

#[test]
fn a_kept_webhook_is_the_same_again() {
    let audio = StoredAudio {
        bucket: "media".into(),
        key: "k".into(),
        size: 9,
        content_type: "audio/mpeg".into(),
    };
    let webhook = Webhook {
        kind: "post-call".into(),
        body: Bytes::from_static(b"{}"),
        content_type: Some("application/json".into()),
        id: None,
        audio: Some(audio),
        received: OffsetDateTime::UNIX_EPOCH,
    };
    let entry = Quarantined {
        tenant: Tenant::parse("t").unwrap(),
        origin: Token::parse("s").unwrap(),
        place: "/webhooks/s/post-call".into(),
        source: "s".into(),
        reason: "r".into(),
        received: webhook.received,
        kept: webhook.kept(),
        payload: webhook.body.clone(),
    };
    let again = Webhook::again(&entry).unwrap();
    assert_eq!((again.kind, again.audio), (webhook.kind, webhook.audio));
    assert_eq!(again.content_type, webhook.content_type);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_call_to_a_number_is_another_call_and_a_retry_of_the_first_is_not() {
    let server = TestNats::start().await;
    let client = server.nats("ingest").await;
    let memory = Memory::new(client.log_reader(), 1 << 20);
    let catalogue = runtime::catalogue::load(None).unwrap();
    let counts = Metrics::new(&Counts::new());
    let vault = Vault::new(&client, WrappingKeys::new(b"the platform's key", None));
    let intake = Intake::new(&client, catalogue, vault, memory.clone(), counts, 16);
    let stop = CancellationToken::new();
    let feeds = StreamId::ALL.map(|stream| {
        let feed = memory::feed(memory.clone(), client.clone(), stream, stop.clone());
        owned(async move { feed.await.unwrap() })
    });
    let none = |_: &str| Err(std::io::Error::other("no"));
    let text = "[[source]]\nname = 's'\ntenant = 't'\nprovider = 'callerdesk'\nsecrets = ['s']\n";
    let sources = Sources::parse(text, &none).unwrap();
    let source = sources.named("s").unwrap();
    let live =
        r#"{"type":"live_call","SourceNumber":"1","DestinationNumber":"2","Status":"Picked"}"#;
    let timed = live.replace('}', r#","StartTime":"2026-01-02 03:04:05"}"#);
    let receive = async |body: &str, seconds: i64| {
        let webhook = Webhook {
            kind: "events".into(),
            body: Bytes::copy_from_slice(body.as_bytes()),
            content_type: None,
            id: None,
            audio: None,
            received: OffsetDateTime::UNIX_EPOCH + Duration::seconds(seconds),
        };
        loop {
            match store(&intake, source, &webhook, Way::Webhook).await {
                Err(ReceiveError::NotStored(IntakeError::Warming)) => {
                    tokio::task::yield_now().await;
                }
                received => return received.unwrap().events.remove(0),
            }
        }
    };
    let first = receive(live, 299).await;
    assert!(!first.duplicate);
    while !memory.has_seen(StreamId::Calls, first.sequence.unwrap()) {
        tokio::task::yield_now().await;
    }
    let retried = receive(live, 301).await;
    assert_eq!(retried, Stored { duplicate: true, ..first.clone() }, "over the border of spans");
    let second = receive(live, 600).await;
    assert!(!second.duplicate && second.id != first.id);
    assert!(!receive(&timed, 299).await.duplicate);
    assert!(receive(&timed, 40_000).await.duplicate, "its own time tells it from others");
    stop.cancel();
    for feed in feeds {
        feed.join().await.unwrap();
    }
}

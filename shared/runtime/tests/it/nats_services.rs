//! What each user of the server may do, and what it is refused.

use std::time::Duration;

use bytes::Bytes;
use runtime::event_log::AppendError;
use runtime::follow::{FollowEvent, FollowOptions, Follower, Start};
use runtime::nats::{Credentials, Nats, NatsConfig};
use runtime::nats_server::teams;
use runtime::provision::{self, ApplyOptions, Definitions};
use runtime::requests::RequestError;
use runtime::test_support::TestNats;

use crate::nats_log::append;

const SOON: Duration = Duration::from_secs(5);
/// A refused call is not answered, so a refusal costs this long; what is allowed takes a few milliseconds.
const REFUSED: Duration = Duration::from_millis(300);

/// What each service does: appends, reads, follows, keeps.
#[derive(Clone, Copy, Debug)]
enum Call {
    Append(&'static str),
    Follow(&'static str),
    Put(&'static str),
}

use Call::{Append, Follow, Put};

async fn passes(nats: &Nats, call: Call, within: Duration) -> bool {
    match call {
        Append(subject) => {
            let log = nats.event_log().with_deadline(within);
            match log.append(append(subject, subject)).await {
                Ok(_) => true,
                Err(AppendError::Unknown) => false,
                Err(other) => panic!("{subject}: {other}"),
            }
        }
        Follow(stream) => {
            let start = Start::AfterSequence(0);
            let mut follower = Follower::new(nats, stream, start, FollowOptions::default());
            let told = tokio::time::timeout(within, follower.next()).await;
            matches!(told, Ok(FollowEvent::Attached(_)))
        }
        Put(bucket) => {
            let bucket = nats.bucket(bucket);
            let written = tokio::time::timeout(within, bucket.put("key", "value".into())).await;
            written.is_ok_and(|written| written.is_ok())
        }
    }
}

async fn may(nats: &Nats, calls: &[Call]) {
    for &call in calls {
        assert!(passes(nats, call, SOON).await, "{} may {call:?}", nats.service());
    }
}

async fn may_not(nats: &Nats, calls: &[Call]) {
    for &call in calls {
        assert!(!passes(nats, call, REFUSED).await, "{} may not {call:?}", nats.service());
    }
}

const EVENT: &str = "events.acme.call.CA1.update";
const COMMAND: &str = "commands.acme.crisis.c1.assign";
const PUBLICATION: &str = "publish.acme.call.CA1.update";
const QUARANTINED: &str = "quarantine.acme.twilio";
const TIMER: &str = "timers.set.acme.c1";

#[tokio::test]
async fn ingest_appends_facts_and_the_gateway_what_clients_wish() {
    let server = TestNats::start().await;
    let (ingest, gateway) = (server.nats("ingest").await, server.nats("gateway").await);
    let facts =
        [Append(EVENT), Append("events.acme.crisis.c1.raised"), Append(QUARANTINED), Append(TIMER)];
    may(&ingest, &facts).await;
    may_not(&gateway, &facts).await;
    // What clients ask for and publish, neither of which is a fact yet.
    let wishes = [Append(COMMAND), Append(PUBLICATION)];
    may(&gateway, &wishes).await;
    may_not(&ingest, &wishes).await;
}

#[tokio::test]
async fn ai_proxy_appends_only_what_the_ai_does() {
    let server = TestNats::start().await;
    let ai = server.nats("ai-proxy").await;
    let own = [Append("events.acme.ai.c1.answered"), Append("events.acme.crisis.c1.raised")];
    may(&ai, &own).await;
    may(&ai, &[Follow("CONVERSATIONS"), Follow("CRISIS")]).await;
    may_not(&ai, &[Append(EVENT), Append(TIMER), Follow("CALLS"), Put("sessions")]).await;
}

#[tokio::test]
async fn readers_follow_and_write_only_what_is_theirs() {
    let server = TestNats::start().await;
    let (gateway, replay) = (server.nats("gateway").await, server.nats("replay").await);
    for stream in domain::StreamId::ALL.map(domain::StreamId::name) {
        may(&gateway, &[Follow(stream)]).await;
        may(&replay, &[Follow(stream)]).await;
    }
    may(&gateway, &[Put("cursors"), Put("sessions"), Put("revocations")]).await;
    may_not(&replay, &[Put("cursors"), Put("sessions"), Put("revocations")]).await;
    may(&replay, &[Put("replay"), Follow("QUARANTINE")]).await;
    let others = [Append(EVENT), Append(COMMAND), Append(PUBLICATION), Follow("INBOX")];
    may_not(&replay, &others).await;
    let others = [Put("replay"), Put("platform"), Follow("QUARANTINE"), Follow("INBOX")];
    may_not(&gateway, &others).await;
}

#[tokio::test]
async fn only_the_provisioner_changes_streams() {
    let server = TestNats::start().await;
    const CALLS: [&str; 6] = [
        "STREAM.CREATE.OWN",
        "STREAM.UPDATE.CALLS",
        "STREAM.DELETE.CALLS",
        "STREAM.PURGE.CALLS",
        "STREAM.MSG.DELETE.CALLS",
        "CONSUMER.CREATE.INBOX.own",
    ];
    for user in ["ingest", "gateway", "replay", "ai-proxy"] {
        let nats = server.nats(user).await;
        let refused = CALLS.map(|call| {
            let nats = nats.clone();
            async move { nats.request(&format!("$JS.API.{call}"), "{}".into(), REFUSED).await }
        });
        for (call, answer) in CALLS.iter().zip(futures_util::future::join_all(refused).await) {
            assert_eq!(answer, Err(RequestError::Timeout), "{user} {call}");
        }
    }
    // The same call is answered to the one who may.
    let admin = server.nats("admin").await;
    assert!(admin.request("$JS.API.STREAM.PURGE.CALLS", "{}".into(), SOON).await.is_ok());
}

#[tokio::test]
async fn questions_are_answered_across_services() {
    let server = TestNats::start().await;
    let (gateway, replay) = (server.nats("gateway").await, server.nats("replay").await);
    let nobody = gateway.request("replay.request.acme.refs", Bytes::new(), SOON).await;
    assert_eq!(nobody, Err(RequestError::NoResponders));
    let mut server = replay.serve("replay.request.*.*", "replay").await.unwrap();
    replay.flush(Duration::from_secs(1)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let (answer, ()) =
        tokio::join!(gateway.request("replay.request.acme.refs", "question".into(), SOON), async {
            let request = server.next().await.unwrap();
            assert_eq!(request.subject.as_str(), "replay.request.acme.refs");
            assert_eq!(request.payload, "question");
            request.respond("answer".into()).await.unwrap();
        });
    assert_eq!(answer, Ok("answer".into()));
}

#[tokio::test]
async fn ingest_asks_the_read_side_whose_a_number_is_and_nothing_else() {
    let server = TestNats::start().await;
    let (ingest, replay) = (server.nats("ingest").await, server.nats("replay").await);
    let mut server = replay.serve("replay.request.*.*", "replay").await.unwrap();
    replay.flush(Duration::from_secs(1)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let asked = "replay.request.acme.contact-by-phone";
    let (answer, ()) = tokio::join!(ingest.request(asked, "question".into(), SOON), async {
        let request = server.next().await.unwrap();
        assert_eq!(request.subject.as_str(), asked);
        request.respond("answer".into()).await.unwrap();
    });
    assert_eq!(answer, Ok("answer".into()));
    for question in ["refs", "view", "quarantine-show", "quarantine-redrive"] {
        let asked = format!("replay.request.acme.{question}");
        let answer = ingest.request(&asked, Bytes::new(), REFUSED).await;
        assert_eq!(answer, Err(RequestError::Timeout), "{question}");
    }
}

#[tokio::test]
async fn signals_reach_gateways_and_replies_reach_the_one_that_asked() {
    let server = TestNats::start().await;
    let (ingest, gateway) = (server.nats("ingest").await, server.nats("gateway").await);
    let mut signals = gateway.subscribe("live.*.>").await.unwrap();
    let mut replies = gateway.subscribe("reply.gw1.>").await.unwrap();
    tokio::time::sleep(Duration::from_millis(30)).await;
    let headers = [("tl-channels", "calls".to_owned())];
    ingest.publish("live.acme.typing.c1.started", &headers, "{}".into()).await.unwrap();
    ingest.publish("reply.gw1.42", &[], "done".into()).await.unwrap();
    let signal = tokio::time::timeout(SOON, signals.next()).await.unwrap().unwrap();
    assert_eq!(signal.headers.get("tl-channels"), Some("calls"));
    let reply = tokio::time::timeout(SOON, replies.next()).await.unwrap().unwrap();
    assert_eq!(reply.payload, "done");
}

#[tokio::test]
async fn a_team_publishes_for_its_tenant_and_consumes_on_its_durable_alone() {
    let server = TestNats::start().await;
    let pair = teams::key_pair().unwrap();
    let team = teams::Team {
        tenant: domain::Tenant::parse("acme").unwrap(),
        name: domain::Token::parse("crm").unwrap(),
        public_key: pair.public_key,
        consumes: true,
    };
    let running = server.server().unwrap();
    let users = std::fs::read_to_string(running.users_file()).unwrap();
    std::fs::write(running.users_file(), teams::add(&users, &team).unwrap()).unwrap();
    running.reload().unwrap();
    let mut definitions = Definitions::builtin().unwrap();
    for durable in team.durables() {
        definitions.add_consumer("team", &durable).unwrap();
    }
    let admin = server.nats("admin").await;
    provision::apply(&admin, &definitions, ApplyOptions::default()).await.unwrap();

    let config = NatsConfig {
        url: format!("nats://{}", running.address()),
        credentials: Some(Credentials::parse(&pair.seed).unwrap()),
        service: team.inbox_prefix().trim_start_matches("_INBOX_").to_owned(),
    };
    let crm = Nats::connect(&config).await.unwrap();
    crm.wait_connected(Duration::from_secs(5)).await.unwrap();
    may(&crm, &[Append(PUBLICATION)]).await;
    let others = [
        Append("publish.other.call.CA1.update"),
        Append("publish.acme.broadcast.all.message"),
        Append("publish.acme.subject.7.erased"),
        Append("publish.acme.auth.7.revoked"),
        Append(EVENT),
        Follow("CALLS"),
    ];
    may_not(&crm, &others).await;

    let ingest = server.nats("ingest").await;
    may(&ingest, &[Append("events.other.call.CA1.update"), Append(EVENT)]).await;
    let mut durable = runtime::durable::Durable::open(&crm, "CALLS", &team.durable());
    let job = tokio::time::timeout(Duration::from_secs(5), durable.next()).await.unwrap();
    assert_eq!(job.message.subject.as_str(), EVENT);
    job.ack_confirmed().await.unwrap();
}

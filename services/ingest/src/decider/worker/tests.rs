use domain::command::Actor;
use domain::protection::WrappingKeys;
use domain::{Role, StreamId};
use runtime::event_log::{Append, AppendError};
use runtime::log_reader::ReadError;
use runtime::metrics::Metrics as Registry;
use runtime::tasks::owned;
use runtime::test_support::TestNats;
use runtime::vault::Vault;
use runtime::{clock, ids};
use tokio::time::{Instant, timeout};

use super::super::metrics::Metrics;
use super::super::record::Unrecordable;
use super::super::tail::Tail;
use super::super::{ALL_OTHERS, OF_CRISES};
use super::*;
use crate::intake::{Intake, IntakeError};
use crate::lanes::Work as _;
use crate::memory::{self, Memory};

const REPLIES: &str = "reply.test.>";

struct Bench {
    server: TestNats,
    admin: Nats,
    nats: Nats,
    memory: Memory,
    decider: Decider,
    log: EventLog,
}

impl Bench {
    /// An instance that has read nothing of the log yet.
    async fn cold() -> Self {
        let (server, registry) = (TestNats::start().await, Registry::new());
        let nats = server.nats("ingest").await;
        let memory = Memory::new(nats.log_reader(), 1 << 20);
        let catalogue = runtime::catalogue::load(None).unwrap();
        let counts = crate::metrics::Metrics::new(&registry);
        let vault = Vault::new(&nats, WrappingKeys::new(b"the platform's key", None));
        let intake = Intake::new(&nats, catalogue, vault, memory.clone(), counts, 16);
        let tails = Tail::all().into_iter().map(Arc::new).collect();
        let (log, metrics) = (intake.log().clone(), Metrics::new(&registry));
        let decider = Decider::new(&nats, tails, Arc::default(), intake, metrics);
        let admin = server.nats("admin").await;
        Self { server, admin, nats, memory, decider, log }
    }

    fn worker(&self, queue: Queue) -> Worker {
        Worker::new(&self.decider, queue, &self.nats, &self.log)
    }

    async fn store(&self, kind: &str, entity: &str, role: Role, data: Value) {
        let command = Command {
            id: "k-1".to_owned(),
            kind: kind.to_owned(),
            tenant: Tenant::parse("acme").unwrap(),
            entity: entity.to_owned(),
            actor: Actor { user: "7".to_owned(), role },
            connection: None,
            reply: Some("reply.test.a".to_owned()),
            time: clock::now(),
            data: data.as_object().unwrap().clone(),
        };
        let append = Append {
            subject: command.subject().unwrap(),
            message_id: ids::ordered(),
            headers: command.headers(),
            payload: command.payload(),
            expect: None,
        };
        self.server.nats("gateway").await.event_log().append(append).await.unwrap();
    }

    async fn count(&self, stream: &str) -> u64 {
        self.admin.log_reader().stream_info(stream).await.unwrap().messages
    }
}

/// As it comes when it has been handed back for hours.
fn for_hours(mut job: Job) -> Job {
    job.delivered = 50 * OVERDUE;
    job
}

fn failures() -> Vec<Undecided> {
    vec![
        Undecided::Read(ReadError::Timeout),
        Undecided::Append(AppendError::Unknown),
        Undecided::Contended,
        Undecided::Late,
    ]
}

#[test]
fn only_what_can_never_succeed_is_given_up_of_alerts() {
    for error in failures() {
        let unsettled = Unsettled::Undecided(error);
        assert_eq!(unsettled.fate(OF_CRISES, u64::MAX), Fate::Tried);
        assert_eq!(unsettled.fate(ALL_OTHERS, GIVE_UP_AFTER), Fate::Tried);
        assert_eq!(unsettled.fate(ALL_OTHERS, GIVE_UP_AFTER + 1), Fate::GivenUp);
    }
    let hopeless = Unsettled::Undecided(Undecided::Hopeless(Unrecordable::NoEntity));
    assert_eq!(hopeless.fate(OF_CRISES, 1), Fate::GivenUp);
}

#[test]
fn what_is_decided_is_never_given_up() {
    let untold = [
        Untold::Read(ReadError::Timeout),
        Untold::Store(IntakeError::Append(AppendError::Unknown)),
        Untold::Late,
    ];
    for error in untold.map(Unsettled::Untold) {
        assert_eq!(error.fate(ALL_OTHERS, u64::MAX), Fate::Tried);
    }
    let warming = Unsettled::Untold(Untold::Store(IntakeError::Warming));
    assert_eq!(warming.fate(ALL_OTHERS, u64::MAX), Fate::HandedBack(UNTIL_WARM));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crisis_that_cannot_be_raised_for_hours_is_handed_back_and_told_of_aloud() {
    let bench = Bench::cold().await;
    let data = json!({ "userId": "7", "conversationId": "c-9", "severity": "high", "signals": [] });
    bench.store("crisis.raise", "c-9", Role::Service, data).await;
    let mut durable = Durable::open(&bench.nats, OF_CRISES.stream, OF_CRISES.durable);
    let job = for_hours(durable.next().await);
    let within = Duration::from_secs(5);
    bench.admin.request("$JS.API.STREAM.DELETE.CRISIS", "".into(), within).await.unwrap();
    // Stopping it tries once only.
    let stopping = CancellationToken::new();
    stopping.cancel();
    let worker = bench.worker(OF_CRISES);
    worker.work(&job, &stopping).await.unwrap();
    assert_eq!(bench.count("QUARANTINE").await, 0);
    assert_eq!(bench.decider.metrics().overdue.get(), 1);
    let again = timeout(Duration::from_secs(20), durable.next()).await.expect("it comes again");
    // Of other commands a person gets to see what fails for so long.
    let other = Queue { of_crises: false, ..OF_CRISES };
    bench.worker(other).work(&for_hours(again), &stopping).await.unwrap();
    assert_eq!(bench.count("QUARANTINE").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_the_memory_is_decided_and_answered_once_and_told_in_the_end() {
    let bench = Bench::cold().await;
    let mut replies = bench.server.nats("gateway").await.subscribe(REPLIES).await.unwrap();
    bench.store("conversation.start", "c-9", Role::User, json!({ "avatarId": "maya" })).await;
    let mut durable = Durable::open(&bench.nats, ALL_OTHERS.stream, ALL_OTHERS.durable);
    let (worker, stop) = (bench.worker(ALL_OTHERS), CancellationToken::new());
    for _ in 0..2 {
        let job = for_hours(durable.next().await);
        let begun = Instant::now();
        worker.work(&job, &stop).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(4), "it holds up no other of its lane");
    }
    assert_eq!(bench.count("CONVERSATIONS").await, 1, "nothing follows from it yet");
    let stream = StreamId::Conversations;
    let feed = memory::feed(bench.memory.clone(), bench.nats.clone(), stream, stop.clone());
    let _feeding = owned(async move { feed.await.unwrap() });
    let done = async {
        while bench.count("COMMANDS").await > 0 {
            // It comes again, or its acknowledgement is on its way.
            if let Ok(job) = timeout(Duration::from_millis(500), durable.next()).await {
                worker.work(&job, &stop).await.unwrap();
            }
        }
    };
    timeout(Duration::from_secs(40), done).await.expect("it is done in the end");
    assert_eq!(bench.count("CONVERSATIONS").await, 2, "its session is told of");
    assert_eq!(bench.count("QUARANTINE").await, 0);
    let answer = replies.next().await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(answer["ok"], true, "{answer}");
    let more = timeout(Duration::from_millis(300), replies.next()).await;
    assert!(more.is_err(), "it is answered once");
    let counted = |outcome| bench.decider.metrics().count(outcome);
    assert_eq!((counted(Outcome::Accepted), counted(Outcome::Repeated)), (1, 0));
}

#[test]
fn one_entitys_commands_share_a_lane() {
    let end = entity_of("commands.acme.conversation.c-9.end");
    assert_eq!(end, entity_of("commands.acme.conversation.c-9.message"));
    assert_ne!(end, entity_of("commands.acme.conversation.c-8.message"));
}

#[test]
fn answers_go_to_gateways_alone() {
    assert!(is_reply("reply.gw-1.t42"));
    for bad in ["reply", "reply.", "reply.*.a", "events.acme.call.1.update", "reply.a.>"] {
        assert!(!is_reply(bad), "{bad}");
    }
}

use std::sync::Mutex;

use runtime::event_log::Append;
use runtime::nats::Nats;
use runtime::tasks::owned;
use runtime::test_support::TestNats;
use tokio::sync::Semaphore;
use tokio::time::{Instant, interval, timeout};

use super::*;

/// Its `ack_wait` is the shortest among the durables that are worked on in lanes.
const STREAM: &str = "CRISIS_COMMANDS";
const DURABLE: &str = "ingest";
const MANY: usize = 300;
const GRACE: Duration = Duration::from_secs(10);

/// Jobs about `slow` wait for a permit; what is done is noted.
#[derive(Clone)]
struct Noting {
    permits: Arc<Semaphore>,
    done: Arc<Mutex<Vec<(String, u64)>>>,
}

impl Noting {
    fn new() -> Self {
        Self { permits: Arc::new(Semaphore::new(0)), done: Arc::default() }
    }

    fn done(&self, entity: &str) -> Vec<u64> {
        let done = self.done.lock().unwrap();
        done.iter().filter(|(of, _)| of == entity).map(|(_, delivered)| *delivered).collect()
    }

    async fn has_done(&self, entity: &str, jobs: usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.done(entity).len() < jobs {
            assert!(Instant::now() < deadline, "{jobs} jobs of {entity} are not done");
            tokio::task::yield_now().await;
        }
    }
}

fn entity(subject: &str) -> &str {
    subject.split('.').nth(3).unwrap_or_default()
}

impl Work for Noting {
    fn lane<'a>(&self, subject: &'a str) -> impl std::hash::Hash + use<'a> {
        entity(subject)
    }

    async fn work(&self, job: &Job, _shutdown: &CancellationToken) -> Result<(), NotSettled> {
        let entity = entity(&job.message.subject);
        if entity == "slow" {
            self.permits.acquire().await.unwrap().forget();
        }
        self.done.lock().unwrap().push((entity.to_owned(), job.delivered));
        job.ack().await
    }
}

async fn store(gateway: &Nats, entity: &str, number: usize) {
    let append = Append {
        subject: format!("commands.acme.crisis.{entity}.assign"),
        message_id: format!("{entity}-{number}"),
        headers: Vec::new(),
        payload: "{}".into(),
        expect: None,
    };
    gateway.event_log().append(append).await.unwrap();
}

async fn with_a_slow_lane() -> (TestNats, Nats, Noting) {
    let server = TestNats::start().await;
    let gateway = server.nats("gateway").await;
    for number in 0..MANY {
        store(&gateway, "slow", number).await;
    }
    (server, gateway, Noting::new())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_stands_still_holds_up_no_other_and_what_waits_in_it_comes_once() {
    let (server, gateway, work) = with_a_slow_lane().await;
    let ingest = server.nats("ingest").await;
    let (durable, stop) = (Durable::open(&ingest, STREAM, DURABLE), CancellationToken::new());
    let _running = owned(run(durable, 64, work.clone(), GRACE, stop));
    // Entities that do not share its lane, as hardly any do.
    for number in 0..8 {
        store(&gateway, &format!("quick-{number}"), 0).await;
    }
    let quick = async {
        while (0..8).filter(|n| !work.done(&format!("quick-{n}")).is_empty()).count() < 6 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), quick).await.expect("others go on");
    // Longer than its `ack_wait`.
    let mut ticks = interval(Duration::from_secs(1));
    for _ in 0..9 {
        ticks.tick().await;
    }
    assert!(work.done("slow").is_empty());
    work.permits.add_permits(MANY * 3);
    work.has_done("slow", MANY).await;
    ticks.reset();
    ticks.tick().await;
    assert_eq!(work.done("slow"), [1; MANY], "each came once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_heard_while_a_lane_stands_still_and_what_waited_goes_to_others() {
    let (server, gateway, work) = with_a_slow_lane().await;
    let ingest = server.nats("ingest").await;
    let (durable, stop) = (Durable::open(&ingest, STREAM, DURABLE), CancellationToken::new());
    let running = owned(run(durable, 64, work.clone(), GRACE, stop.clone()));
    store(&gateway, "quick", 0).await;
    work.has_done("quick", 1).await;
    stop.cancel();
    work.permits.add_permits(1);
    let ended = timeout(Duration::from_secs(5), running.join()).await.expect("it stops");
    ended.expect("no panic").expect("an orderly end");
    assert_eq!(work.done("slow"), [1], "what had begun is finished");
    let mut another = Durable::open(&ingest, STREAM, DURABLE);
    for _ in 1..MANY {
        let job =
            timeout(Duration::from_secs(3), another.next()).await.expect("it was handed back");
        job.ack().await.unwrap();
    }
}

#[test]
fn backing_off_ends_at_its_bound() {
    let longest = Duration::from_secs(30);
    assert!(backoff(1, longest) >= Duration::from_secs(2));
    assert!(backoff(1, longest) < Duration::from_secs(3));
    assert!(backoff(u64::MAX, longest) < longest + Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_lanes_takes_no_more_memory_than_there_is_room() {
    let server = TestNats::start().await;
    let (gateway, ingest) = (server.nats("gateway").await, server.nats("ingest").await);
    let large = 1_500_000;
    for number in 0..60 {
        let append = Append {
            payload: vec![b'x'; large].into(),
            message_id: number.to_string(),
            subject: "commands.acme.crisis.slow.assign".to_owned(),
            headers: Vec::new(),
            expect: None,
        };
        gateway.event_log().append(append).await.unwrap();
    }
    let (durable, stop) = (Durable::open(&ingest, STREAM, DURABLE), CancellationToken::new());
    let work = Noting::new();
    let _running = owned(run(durable, 4, work.clone(), GRACE, stop));
    // Longer than it takes to fetch all of them.
    let mut ticks = interval(Duration::from_secs(1));
    for _ in 0..5 {
        ticks.tick().await;
    }
    let mut another = Durable::open(&ingest, STREAM, DURABLE);
    let left = timeout(Duration::from_secs(3), another.next()).await;
    left.expect("another gets the rest").ack().await.unwrap();
    work.permits.add_permits(60);
    work.has_done("slow", 40).await;
}

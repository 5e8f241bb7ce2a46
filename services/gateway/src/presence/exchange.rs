//! The conversation between gateways: news out and in, questions answered, leases watched.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use runtime::clock;
use runtime::requests::{Request, Server};
use runtime::tasks::{BoxError, Connections as Running};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::news::{self, News, People, Question};
use super::roster::Node;
use super::standing::Scope;
use super::{ANSWER_WITHIN, Presence, answer};
use crate::edge::{Edge, Shared};

/// What changes within this time is told together.
const TOGETHER: Duration = Duration::from_millis(50);
/// How often a gateway says that it lives; several times within its lease.
const BEACON: Duration = Duration::from_millis(1_500);
/// How often leases and those who have left are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// This node has been away itself when it looks later than this.
const LATE: i64 = 2_000;
/// Changes of one message.
const MOST_CHANGES: usize = 1_000;
/// The pause before NATS is asked again for what it did not give.
const RETRY: Duration = Duration::from_millis(500);

struct Exchange {
    edge: Edge,
    presence: Presence,
    running: Running,
    /// Gateways that are being asked, one question at a time.
    asking: Arc<Mutex<HashSet<Node>>>,
    tell_at: Option<Instant>,
    beacon_at: Instant,
    looked_at: i64,
}

/// Until `shutdown`.
pub(crate) async fn run(edge: Edge, shutdown: CancellationToken) -> Result<(), BoxError> {
    let presence = edge.presence.clone();
    let mut exchange = Exchange {
        presence,
        edge,
        running: Running::new(),
        asking: Arc::default(),
        tell_at: None,
        beacon_at: Instant::now(),
        looked_at: clock::unix_millis(),
    };
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        ended = exchange.go_on() => ended,
    }
}

impl Exchange {
    async fn go_on(&mut self) -> Result<(), BoxError> {
        let nats = self.edge.nats.clone();
        let node = self.presence.0.node.clone();
        let own_news = news::news_of(&node);
        let mut everybodys = nats.serve(news::ASK_ALL, &node).await?;
        let mut own = nats.serve(&news::ask_one(&node), "gateway").await?;
        let mut heard = loop {
            match nats.subscribe(news::NEWS).await {
                Ok(heard) => break heard,
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        };
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let presence = self.presence.clone();
        loop {
            let tell_at = self.tell_at;
            tokio::select! {
                signal = heard.next() => match signal {
                    Some(signal) if signal.subject.as_str() == own_news => {}
                    Some(signal) => self.hear(&signal.payload),
                    None => return Err("the connection to NATS is closed".into()),
                },
                question = next_of(&mut everybodys, &mut own) => match question {
                    Some(question) => self.answer(question),
                    None => return Err("the connection to NATS is closed".into()),
                },
                () = presence.0.ask.notified() => self.ask_wanted(),
                () = presence.0.wake.notified(), if tell_at.is_none() => {
                    self.tell_at = Some(Instant::now() + TOGETHER);
                }
                () = sleep_until(tell_at.unwrap_or_else(Instant::now)), if tell_at.is_some() => {
                    self.tell_at = None;
                    self.tell().await;
                }
                _ = look.tick() => self.look().await,
            }
        }
    }

    fn hear(&mut self, payload: &[u8]) {
        let Some(news) = News::read(payload) else {
            return debug!("news of a gateway that cannot be read");
        };
        let (node, number) = (news.node.clone(), news.number);
        let mut state = self.presence.lock();
        let heard = state.table.hear(&node, number, &news.changes(), clock::unix_millis());
        state.tell(&self.edge, heard.updates);
        drop(state);
        if heard.is_new {
            // It does not know of this one yet.
            self.beacon_at = Instant::now();
        }
        if !heard.missing.is_empty() {
            self.ask(node, heard.missing);
        }
    }

    /// Asks one gateway for its people.
    fn ask(&self, node: Node, scopes: Vec<Scope>) {
        let lock = |asking: &Mutex<HashSet<Node>>, change: &dyn Fn(&mut HashSet<Node>) -> bool| {
            change(&mut asking.lock().unwrap_or_else(PoisonError::into_inner))
        };
        if !lock(&self.asking, &|asking| asking.insert(node.clone())) {
            return;
        }
        let (edge, presence, asking) =
            (self.edge.clone(), self.presence.clone(), self.asking.clone());
        self.running.spawn(async move {
            let question = Question::people(&presence.0.node, &scopes).write();
            let subject = news::ask_one(&node);
            let asked = edge.nats.request(&subject, question, ANSWER_WITHIN);
            // Its next sign of life has it asked again.
            if let Ok(Some(people)) = asked.await.map(|answer| People::read(&answer)) {
                presence.lock().take(&edge, vec![people]);
            }
            lock(&asking, &|asking| asking.remove(&node));
        });
    }

    fn answer(&self, question: Request) {
        let asked = Question::read(&question.payload);
        if let Some(answer) = asked.and_then(|asked| answer(&self.presence, &asked)) {
            // Whoever asked has a deadline of its own.
            self.running.spawn(async move {
                let _late = question.respond(answer).await;
            });
        }
    }

    /// Tells the others what has changed.
    async fn tell(&mut self) {
        while self.presence.lock().attendance.has_changed() {
            self.send().await;
        }
    }

    /// Asks everybody for the people of scopes that are followed from now on.
    fn ask_wanted(&self) {
        let wanted = std::mem::take(&mut self.presence.lock().wanted);
        if !wanted.is_empty() {
            let (edge, presence) = (self.edge.clone(), self.presence.clone());
            self.running.spawn(async move { begin(&edge, &presence, wanted).await });
        }
    }

    /// One message; without changes it says that this gateway lives.
    async fn send(&mut self) {
        let message = {
            let mut state = self.presence.lock();
            let changes = state.attendance.changes(MOST_CHANGES);
            state.number += 1;
            let number = state.number;
            let updates = state.table.apply_own(number, &changes, clock::unix_millis());
            state.tell(&self.edge, updates);
            // Who knows nobody tells nothing, and leaves a number out, so that whoever hears it asks for the whole.
            let is_alone = !changes.is_empty() && state.table.peers().next().is_none();
            state.number += u64::from(is_alone);
            let said = if is_alone { &[] } else { changes.as_slice() };
            News::write(&self.presence.0.node, state.number, said)
        };
        self.beacon_at = Instant::now() + BEACON;
        // A message that is lost is noticed by its number.
        let subject = news::news_of(&self.presence.0.node);
        if let Err(error) = self.edge.nats.publish(&subject, &[], message).await {
            debug!(%error, "news of this gateway");
        }
    }

    async fn look(&mut self) {
        let now = clock::unix_millis();
        let was_away = now - self.looked_at > LATE || !self.edge.nats.is_connected();
        self.looked_at = now;
        {
            let mut state = self.presence.lock();
            state.attendance.expire(now);
            if was_away {
                state.table.excuse(now);
            }
            let updates = state.table.expire(now);
            state.tell(&self.edge, updates);
            self.edge.meters.peers.set(state.table.peers().count() as i64);
        }
        self.tell().await;
        if self.beacon_at <= Instant::now() {
            self.send().await;
        }
    }
}

async fn next_of(everybodys: &mut Server, own: &mut Server) -> Option<Request> {
    tokio::select! {
        question = everybodys.next() => question,
        question = own.next() => question,
    }
}

async fn begin(edge: &Shared, presence: &Presence, wanted: HashSet<Scope>) {
    let scopes: Vec<_> = wanted.into_iter().collect();
    let answers = presence.ask_all(&scopes).await;
    let mut state = presence.lock();
    state.take(edge, answers);
    for scope in &scopes {
        state.begin(edge, scope, Vec::new());
    }
}

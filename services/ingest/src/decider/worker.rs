//! Takes commands out of their streams and has them decided: one durable's work in lanes.
//!
//! Commands on one entity go through one lane in their order; lanes run beside each other. The caller is told as soon
//! as the decision is stored; a command is done when everything that follows from it is stored too.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::Command;
use domain::aggregate::Rejection;
use domain::token::{EntityToken, Tenant};
use runtime::durable::{Durable, Job, NotSettled};
use runtime::event_log::EventLog;
use runtime::nats::Nats;
use runtime::tasks::{BoxError, Tasks};
use runtime::telemetry::{TARGET, chain};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, error, info_span, warn};

use super::entities::at;
use super::execute::{Decider, Executed, Undecided};
use super::metrics::Outcome;
use super::record::Keep;
use super::waiting::Waiting;
use crate::quarantine::{self, Quarantined};

/// Where what cannot be decided comes from, in quarantine.
const ORIGIN: &str = "commands";

/// Commands that wait in a lane; beyond it fetching waits, for all lanes. The durables let no more than a thousand be
/// unacknowledged in all.
const LANE_DEPTH: usize = 256;
const FETCHED_AHEAD: usize = 128;
/// Attempts in place, so that a short outage does not change the order.
const ATTEMPTS: u32 = 3;
/// Below the shortest `ack_wait` of the durables.
const WITHIN: Duration = Duration::from_secs(4);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
/// Between looks at whether repeats are recognised again, as after a start.
const UNTIL_WARM: Duration = Duration::from_secs(1);
/// How often those that wait are looked at.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// What was delivered so often is looked at by a person.
const GIVE_UP_AFTER: u64 = 100;

/// A durable that holds commands, and in how many lanes they are decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Queue {
    pub(super) stream: &'static str,
    pub(super) durable: &'static str,
    pub(super) lanes: usize,
}

/// What one durable's commands are decided with.
#[derive(Clone)]
pub(super) struct Worker {
    pub(super) decider: Decider,
    pub(super) nats: Nats,
    pub(super) log: EventLog,
}

impl Worker {
    /// Works until `shutdown`, then finishes what has begun and gives the rest back.
    pub(super) async fn run(
        self,
        queue: Queue,
        grace: Duration,
        shutdown: CancellationToken,
    ) -> Result<(), BoxError> {
        let mut durable =
            Durable::open(&self.nats, queue.stream, queue.durable).with_batch(FETCHED_AHEAD);
        // Lanes end when their senders are dropped, after the last job, not at the shutdown itself.
        let ended = CancellationToken::new();
        let mut tasks = Tasks::new(&ended);
        let lanes: Vec<_> = (0..queue.lanes)
            .map(|number| {
                let (sender, jobs) = mpsc::channel(LANE_DEPTH);
                let lane = self.clone().lane(jobs, shutdown.clone());
                tasks.spawn(format!("commands lane {number}"), lane);
                sender
            })
            .collect();
        let (hashes, mut waiting) = (RandomState::new(), Waiting::default());
        let mut ticks = tokio::time::interval(TELL_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let job = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                _ = ticks.tick() => {
                    waiting.tell().await;
                    continue;
                }
                job = durable.next() => waiting.hold(job),
            };
            let lane = &lanes[lane_of(&hashes, &job.message.subject, lanes.len())];
            // A lane that is full is waited for; those in it are looked after meanwhile.
            let sent = lane.send(job);
            tokio::pin!(sent);
            let is_open = loop {
                tokio::select! {
                    sent = &mut sent => break sent.is_ok(),
                    _ = ticks.tick() => waiting.tell().await,
                }
            };
            if !is_open {
                break;
            }
        }
        drop(lanes);
        durable.close().await;
        ended.cancel();
        Ok(tasks.finish(grace).await?)
    }

    async fn lane(
        self,
        mut jobs: mpsc::Receiver<Arc<Job>>,
        shutdown: CancellationToken,
    ) -> Result<(), BoxError> {
        while let Some(job) = jobs.recv().await {
            let settled = match shutdown.is_cancelled() {
                true => job.nak(Duration::ZERO).await,
                false => self.work(&job, &shutdown).await,
            };
            if let Err(error) = settled {
                debug!(%error, sequence = job.message.sequence, "command");
            }
        }
        Ok(())
    }

    async fn work(&self, job: &Job, shutdown: &CancellationToken) -> Result<(), NotSettled> {
        let message = &job.message;
        let command =
            match Command::from_message(&message.subject, &message.headers, &message.payload) {
                Ok(command) => command,
                Err(error) => return self.give_up(job, None, &error.to_string()).await,
            };
        let mut pause = backoff(job.delivered);
        for attempt in 1..=ATTEMPTS {
            let span = info_span!(
                target: TARGET, parent: None, "decision", "command.type" = &*command.kind, attempt
            );
            match self.settle(job, &command).instrument(span).await {
                Ok(()) => return job.ack().await,
                Err(Undecided::Hopeless(why)) => {
                    return self.give_up(job, Some(&command), &chain(&why)).await;
                }
                Err(later) if job.delivered > GIVE_UP_AFTER && !later.is_warming() => {
                    return self.give_up(job, Some(&command), &chain(&later)).await;
                }
                // It is decided and answered; nothing failed, however often it came.
                Err(later) if later.is_warming() => pause = UNTIL_WARM,
                Err(later) => {
                    warn!(error = chain(&later), sequence = message.sequence, "a command waits");
                }
            }
            if attempt < ATTEMPTS && !shutdown.is_cancelled() {
                job.in_progress().await?;
                tokio::time::sleep(Duration::from_millis(200) * attempt).await;
            }
        }
        job.nak(pause).await
    }

    async fn settle(&self, job: &Job, command: &Command) -> Result<(), Undecided> {
        let started = Instant::now();
        let decided = self.decider.decide(command, at(job.message.stored_at), Keep::Every);
        let decided = timeout(WITHIN, decided).await.map_err(|_| Undecided::Late)??;
        let Some(executed) = decided else { return Ok(()) };
        self.decider.metrics().seconds.observe(started.elapsed().as_secs_f64());
        self.answer(command, &executed).await;
        let told = self.decider.follow_up(command, &executed);
        timeout(WITHIN, told).await.map_err(|_| Undecided::Late)?
    }

    /// Nothing hangs on it: who does not get it learns of the decision by its event, or asks again.
    async fn answer(&self, command: &Command, executed: &Executed) {
        self.reply(command, &Value::Object(executed.answer(command))).await;
    }

    async fn reply(&self, command: &Command, answer: &Value) {
        let Some(to) = command.reply.as_deref().filter(|to| is_reply(to)) else { return };
        if let Err(error) = self.nats.publish(to, &[], answer.to_string().into()).await {
            debug!(%error, "an answer to a command was not sent");
        }
    }

    /// Keeps what cannot be decided for a person to look at, and tells the caller.
    async fn give_up(
        &self,
        job: &Job,
        command: Option<&Command>,
        reason: &str,
    ) -> Result<(), NotSettled> {
        let message = &job.message;
        let Ok(tenant) = domain::subject::tenant_of(&message.subject) else {
            error!("a command names no tenant and is dropped");
            return job.term().await;
        };
        let entry = entry(tenant, job, reason);
        if let Err(error) = quarantine::keep(&self.log, &entry).await {
            warn!(error = chain(&error), sequence = message.sequence, "a command waits");
            return job.nak(backoff(job.delivered)).await;
        }
        self.decider.metrics().decided(Outcome::Quarantined);
        if let Some(command) = command {
            let told = "The command cannot be decided; an operator sees it in quarantine.";
            let Rejection { code, message, .. } = Rejection::new("undecidable", told);
            let (ok, id) = (false, &command.id);
            let answer = json!({ "ok": ok, "commandId": id, "code": code, "message": message });
            self.reply(command, &answer).await;
        }
        job.ack().await
    }
}

fn entry(tenant: Tenant, job: &Job, reason: &str) -> Quarantined {
    let message = &job.message;
    let kept = message.headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    Quarantined {
        tenant,
        origin: EntityToken::from_external(ORIGIN).into(),
        place: message.subject.to_string(),
        source: ORIGIN.to_owned(),
        reason: reason.to_owned(),
        received: at(message.stored_at),
        kept: kept.collect(),
        payload: message.payload.clone(),
    }
}

/// Where gateways listen; a command is no way to write anywhere else.
fn is_reply(subject: &str) -> bool {
    let plain = |token: &str| domain::Token::parse(token).is_ok();
    subject.strip_prefix("reply.").is_some_and(|rest| rest.split('.').all(plain))
}

fn lane_of(hashes: &RandomState, subject: &str, lanes: usize) -> usize {
    let entity = subject.rsplit_once('.').map_or(subject, |(entity, _)| entity);
    hashes.hash_one(entity) as usize % lanes.max(1)
}

fn backoff(delivered: u64) -> Duration {
    let doubled = Duration::from_secs(1).saturating_mul(1 << delivered.min(5));
    doubled.min(LONGEST_BACKOFF) + Duration::from_millis(runtime::ids::jitter(500))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_entitys_commands_share_a_lane() {
        let hashes = RandomState::new();
        let lane = |subject| lane_of(&hashes, subject, 64);
        let end = lane("commands.acme.conversation.c-9.end");
        assert_eq!(end, lane("commands.acme.conversation.c-9.message"));
    }

    #[test]
    fn answers_go_to_gateways_alone() {
        assert!(is_reply("reply.gw-1.t42"));
        for bad in ["reply", "reply.", "reply.*.a", "events.acme.call.1.update", "reply.a.>"] {
            assert!(!is_reply(bad), "{bad}");
        }
    }

    #[test]
    fn backing_off_ends_at_its_bound() {
        assert!(backoff(1) >= Duration::from_secs(2));
        assert!(backoff(u64::MAX) < LONGEST_BACKOFF + Duration::from_secs(1));
    }
}

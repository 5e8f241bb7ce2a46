//! Takes commands out of their streams and has them decided.
//!
//! Commands on one entity go through one lane as they were delivered, lanes run beside each other; one that is handed
//! back comes again behind others. Each is decided once whatever the order, and who needs one decided before another
//! waits for its answer. The caller is told as soon as the decision is stored; a command is done when everything that
//! follows from it is stored too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::Command;
use domain::aggregate::Rejection;
use domain::token::{EntityToken, Tenant};
use runtime::durable::{Durable, Job, NotSettled};
use runtime::event_log::EventLog;
use runtime::nats::Nats;
use runtime::tasks::BoxError;
use runtime::telemetry::{TARGET, chain};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, error, info_span, warn};

use super::answered::Answered;
use super::execute::{Decider, Executed, Undecided, Untold};
use super::metrics::Outcome;
use super::record::Keep;
use crate::lanes::{self, backoff};
use crate::quarantine::{self, Quarantined};
use crate::stored::at;

#[cfg(test)]
mod tests;

/// Where what cannot be decided comes from, in quarantine.
const ORIGIN: &str = "commands";

const FETCHED_AHEAD: usize = 128;
/// Attempts in place, so that a short outage does not change the order.
const ATTEMPTS: u32 = 3;
/// Between looks at whether repeats are recognised again, as after a start.
const UNTIL_WARM: Duration = Duration::from_secs(1);
/// What was delivered so often is looked at by a person, unless somebody may be in danger.
const GIVE_UP_AFTER: u64 = 100;
/// Deliveries of a command about an alert after which it is an error that it is not decided, and again after as many.
const OVERDUE: u64 = 10;

/// A durable that holds commands, in how many lanes they are decided, and what becomes of those that cannot be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Queue {
    pub(super) stream: &'static str,
    pub(super) durable: &'static str,
    pub(super) lanes: usize,
    /// Its commands are about people who may be in danger: what could succeed is tried for ever.
    pub(super) of_crises: bool,
    pub(super) longest_pause: Duration,
}

/// What one durable's commands are decided with.
#[derive(Clone)]
pub(super) struct Worker {
    decider: Decider,
    queue: Queue,
    nats: Nats,
    log: EventLog,
    answered: Arc<Answered>,
}

/// Why a command is not done.
enum Unsettled {
    Undecided(Undecided),
    /// It is decided and its caller has the answer.
    Untold(Untold),
}

/// What becomes of a command that is not done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// It goes into quarantine, and its caller is told.
    GivenUp,
    /// It goes into quarantine, so that a person can have what follows from it told; its caller has been answered.
    KeptAnswered,
    /// It is tried again, here and then anywhere.
    Tried,
    /// It is handed back for so long.
    HandedBack(Duration),
}

impl Unsettled {
    fn reason(&self) -> String {
        match self {
            Self::Undecided(error) => chain(error),
            Self::Untold(error) => chain(error),
        }
    }

    fn fate(&self, queue: Queue, delivered: u64) -> Fate {
        match self {
            Self::Undecided(Undecided::Hopeless(_)) => Fate::GivenUp,
            Self::Undecided(_) if delivered > GIVE_UP_AFTER && !queue.of_crises => Fate::GivenUp,
            Self::Untold(Untold::Refused(_)) => Fate::KeptAnswered,
            Self::Untold(error) if error.is_warming() => Fate::HandedBack(UNTIL_WARM),
            Self::Undecided(_) | Self::Untold(_) => Fate::Tried,
        }
    }
}

impl lanes::Work for Worker {
    fn lane<'a>(&self, subject: &'a str) -> impl std::hash::Hash + use<'a> {
        entity_of(subject)
    }

    async fn work(&self, job: &Job, shutdown: &CancellationToken) -> Result<(), NotSettled> {
        let message = &job.message;
        let command =
            match Command::from_message(&message.subject, &message.headers, &message.payload) {
                Ok(command) => command,
                Err(error) => return self.give_up(job, None, &error.to_string()).await,
            };
        let mut attempt = 1;
        loop {
            let span = info_span!(
                target: TARGET, parent: None, "decision", "command.type" = &*command.kind, attempt
            );
            let Err(unsettled) = self.settle(job, &command).instrument(span).await else {
                return job.ack().await;
            };
            let reason = unsettled.reason();
            match unsettled.fate(self.queue, job.delivered) {
                Fate::GivenUp => return self.give_up(job, Some(&command), &reason).await,
                Fate::KeptAnswered => return self.give_up(job, None, &reason).await,
                Fate::HandedBack(pause) => return job.nak(pause).await,
                Fate::Tried if attempt < ATTEMPTS && !shutdown.is_cancelled() => {}
                Fate::Tried => {
                    self.tell_of_delay(job, &reason);
                    return job.nak(backoff(job.delivered, self.queue.longest_pause)).await;
                }
            }
            tokio::time::sleep(Duration::from_millis(200) * attempt).await;
            attempt += 1;
        }
    }
}

impl Worker {
    pub(super) fn new(decider: &Decider, queue: Queue, nats: &Nats, log: &EventLog) -> Self {
        let (decider, nats, log) = (decider.clone(), nats.clone(), log.clone());
        Self { decider, queue, nats, log, answered: Arc::default() }
    }

    pub(super) fn queue(&self) -> Queue {
        self.queue
    }

    pub(super) fn decider(&self) -> &Decider {
        &self.decider
    }

    pub(super) fn nats(&self) -> &Nats {
        &self.nats
    }

    /// Works until `shutdown`, then finishes what has begun and gives the rest back.
    pub(super) async fn run(
        self,
        grace: Duration,
        shutdown: CancellationToken,
    ) -> Result<(), BoxError> {
        let Queue { stream, durable, lanes, .. } = self.queue;
        let durable = Durable::open(&self.nats, stream, durable).with_batch(FETCHED_AHEAD);
        lanes::run(durable, lanes, self, grace, shutdown).await
    }

    async fn settle(&self, job: &Job, command: &Command) -> Result<(), Unsettled> {
        let place = match self.answered.take(&job.message) {
            Some(place) => Some(place),
            None => self.decide(job, command).await.map_err(Unsettled::Undecided)?,
        };
        let Some(place) = place else { return Ok(()) };
        let told = self.decider.follow_up(command, place).await;
        if told.is_err() {
            self.answered.keep(&job.message, place);
        }
        told.map_err(Unsettled::Untold)
    }

    /// Decides and answers; where the record stands, if there is one.
    async fn decide(&self, job: &Job, command: &Command) -> Result<Option<u64>, Undecided> {
        let started = Instant::now();
        let now = at(job.message.stored_at);
        let decided = self.decider.decide(command, now, Keep::Every).await?;
        let Some(executed) = decided else { return Ok(None) };
        self.decider.metrics().seconds.observe(started.elapsed().as_secs_f64());
        self.answer(command, &executed).await;
        Ok(executed.place())
    }

    /// Once for each delivery, and where somebody may be in danger louder the longer it lasts, but not each time.
    fn tell_of_delay(&self, job: &Job, reason: &str) {
        let (sequence, delivered) = (job.message.sequence, job.delivered);
        if !self.queue.of_crises || delivered < OVERDUE {
            warn!(error = reason, sequence, delivered, "a command waits");
            return;
        }
        self.decider.metrics().overdue.inc();
        if delivered.is_multiple_of(OVERDUE) {
            error!(error = reason, sequence, delivered, "a command about an alert waits");
        }
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
            self.tell_of_delay(job, &chain(&error));
            return job.nak(backoff(job.delivered, self.queue.longest_pause)).await;
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

/// What the commands of one entity have in common.
fn entity_of(subject: &str) -> &str {
    subject.rsplit_once('.').map_or(subject, |(entity, _)| entity)
}

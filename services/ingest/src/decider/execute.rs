//! One command from its entity's state to its record, and what else is told because of it.
//!
//! The append expects the entity as it was decided on. A conflict means that something else came first: the state is
//! brought up to date and the command decided again, or found decided. So whatever dies at whatever moment, a command
//! has one record, and its repeats are answered from that.

use std::sync::Arc;
use std::time::Duration;

use domain::aggregate::{self, Decision, RecordedEvent, Rejection};
use domain::aggregates::conversation;
use domain::catalogue::{Admitted, Refusal};
use domain::{Address, Command, StreamId};
use runtime::event_log::{AppendError, EventLog, Expect};
use runtime::ids;
use runtime::log_reader::ReadError;
use runtime::nats::Nats;
use runtime::vault::VaultError;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use tokio::time::timeout;

use super::entities::{Entities, Held};
use super::metrics::{Metrics, Outcome};
use super::record::{self, Keep, Unrecordable};
use super::signals::Signals;
use super::tail::Tail;
use crate::intake::{Intake, IntakeError, Stored};
use crate::metrics::Way;
use crate::protection;

mod repeats;

use repeats::Before;

/// How long a decision may take, and what is told because of it; whoever waits for them is looked after meanwhile.
pub(super) const WITHIN: Duration = Duration::from_secs(4);
/// Each lost race means that another command was decided: as many in a row are a storm.
const RACES: usize = 32;
const APPEND_WITHIN: Duration = Duration::from_secs(2);

/// No event of a stream has this sequence.
const NOT_STORED: u64 = 0;

/// A handle that is cheap to clone.
#[derive(Clone)]
pub(crate) struct Decider {
    inner: Arc<Inner>,
}

struct Inner {
    tails: Vec<Arc<Tail>>,
    signals: Arc<Signals>,
    entities: Entities,
    intake: Intake,
    log: EventLog,
    metrics: Metrics,
}

/// A decided command.
#[derive(Clone, Debug)]
pub(crate) struct Executed {
    pub outcome: Outcome,
    pub record: RecordedEvent,
}

/// Why a command is not decided.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Undecided {
    #[error("it cannot be recorded")]
    Hopeless(#[source] Unrecordable),
    #[error("its entity's events could not be read")]
    Read(#[source] ReadError),
    #[error("the keys of people's data cannot be reached")]
    Seal(#[source] VaultError),
    #[error("the log did not store the decision")]
    Append(#[source] AppendError),
    #[error("it is decided, and what else is to be told is not stored")]
    Untold(#[source] Untold),
    #[error("other commands on its entity came first too often")]
    Contended,
    #[error("it took too long")]
    Late,
}

/// Why something that follows from a decision is not told. The decision stands.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Untold {
    #[error("the catalogue refuses it")]
    Refused(#[source] Refusal),
    #[error("its entity's events could not be read")]
    Read(#[source] ReadError),
    #[error("it could not be stored")]
    Store(#[source] IntakeError),
    #[error("it took too long")]
    Late,
}

impl Untold {
    /// It waits until repeats are recognised, as after a start; nothing failed, however often that is found.
    pub(super) fn is_warming(&self) -> bool {
        matches!(self, Self::Store(IntakeError::Warming))
    }
}

impl Executed {
    /// A refusal that nothing is kept of: asked again it is decided again.
    fn unrecorded(
        command: &Command,
        decision: Result<Decision, Rejection>,
        now: OffsetDateTime,
    ) -> Option<Self> {
        let draft = aggregate::record_of(command, decision)?;
        let record = RecordedEvent {
            sequence: NOT_STORED,
            stored_at: now,
            id: command.id.clone(),
            event_type: draft.event_type.to_owned(),
            causation_id: Some(command.key()),
            channels: draft.channels,
            data: draft.data,
        };
        Some(Self { outcome: Outcome::Rejected, record })
    }

    fn is_stored(&self) -> bool {
        self.place().is_some()
    }

    /// Where its record stands.
    pub(super) fn place(&self) -> Option<u64> {
        Some(self.record.sequence).filter(|sequence| *sequence != NOT_STORED)
    }

    /// What the caller is told.
    pub(crate) fn answer(&self, command: &Command) -> Map<String, Value> {
        aggregate::answer(&command.id, &self.record)
    }
}

impl From<Executed> for Stored {
    fn from(executed: Executed) -> Self {
        let is_stored = executed.is_stored();
        let Executed { outcome, record } = executed;
        let category = record.event_type.split('.').next().unwrap_or_default();
        Self {
            stream: StreamId::of_category(category).filter(|_| is_stored).map(StreamId::name),
            sequence: is_stored.then_some(record.sequence),
            duplicate: outcome == Outcome::Repeated,
            id: record.id,
            event_type: record.event_type,
        }
    }
}

impl Decider {
    pub(super) fn new(
        nats: &Nats,
        tails: Vec<Arc<Tail>>,
        signals: Arc<Signals>,
        intake: Intake,
        metrics: Metrics,
    ) -> Self {
        let entities = Entities::new(nats.log_reader());
        let log = nats.event_log().with_deadline(APPEND_WITHIN);
        Self { inner: Arc::new(Inner { tails, signals, entities, intake, log, metrics }) }
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Where alerts are open, once everything has been seen that was stored before the start.
    pub(crate) async fn open_alerts(&self) -> Vec<Address> {
        for tail in self.tails().iter().filter(|tail| tail.stream() == StreamId::Crisis) {
            tail.is_warm().await;
        }
        self.inner.signals.open_alerts()
    }

    /// The events of an entity as far as this instance has seen all of them; none where only the log can tell.
    pub(crate) fn seen(&self, address: &Address) -> Vec<u64> {
        let category = address.category().as_str();
        let tail = self.inner.tails.iter().find(|tail| tail.category() == category);
        let seen = tail.and_then(|tail| tail.index().after(tail.hash(address), 0));
        seen.unwrap_or_default()
    }

    pub(super) fn tails(&self) -> &[Arc<Tail>] {
        &self.inner.tails
    }

    /// Decides a command, or finds its decision, and tells what else is to be told, within one deadline. `now` is when
    /// the command was stored. `None` where nothing was to be kept.
    pub(crate) async fn execute(
        &self,
        command: &Command,
        now: OffsetDateTime,
        keep: Keep,
    ) -> Result<Option<Executed>, Undecided> {
        let both = async {
            let Some(executed) = self.decide_now(command, now, keep).await? else {
                return Ok(None);
            };
            if let Some(place) = executed.place() {
                self.tell_now(command, place).await.map_err(Undecided::Untold)?;
            }
            Ok(Some(executed))
        };
        timeout(WITHIN, both).await.map_err(|_| Undecided::Late)?
    }

    /// The first half.
    pub(super) async fn decide(
        &self,
        command: &Command,
        now: OffsetDateTime,
        keep: Keep,
    ) -> Result<Option<Executed>, Undecided> {
        let decided = self.decide_now(command, now, keep);
        timeout(WITHIN, decided).await.map_err(|_| Undecided::Late)?
    }

    /// The second half: what follows from the record at this place. What is stored already is recognised by its id.
    pub(super) async fn follow_up(&self, command: &Command, place: u64) -> Result<(), Untold> {
        let told = self.tell_now(command, place);
        timeout(WITHIN, told).await.map_err(|_| Untold::Late)?
    }

    async fn decide_now(
        &self,
        command: &Command,
        now: OffsetDateTime,
        keep: Keep,
    ) -> Result<Option<Executed>, Undecided> {
        let (tail, mut held) = self.hold(command).await.map_err(Undecided::Hopeless)?;
        let decided = self.decide_on(tail, &mut held, command, now, keep).await;
        self.inner.entities.release(held);
        if let Ok(Some(executed)) = &decided {
            self.inner.metrics.decided(executed.outcome);
        }
        decided
    }

    async fn hold(&self, command: &Command) -> Result<(&Tail, Held), Unrecordable> {
        let tail = self.inner.tails.iter().find(|tail| tail.category() == command.category());
        let tail = tail.ok_or(Unrecordable::NoEntity)?;
        let address = command.address().map_err(|_| Unrecordable::Misplaced)?;
        let held = self.inner.entities.hold(tail, &address).await;
        Ok((tail, held.ok_or(Unrecordable::NoEntity)?))
    }

    async fn decide_on(
        &self,
        tail: &Tail,
        held: &mut Held,
        command: &Command,
        now: OffsetDateTime,
        keep: Keep,
    ) -> Result<Option<Executed>, Undecided> {
        let entities = &self.inner.entities;
        entities.advance(tail, held).await.map_err(Undecided::Read)?;
        let (mut forced, mut is_sure) = (None, false);
        for _ in 0..RACES {
            let (key, decision) = match self.before(tail, held, command).await? {
                Before::Decided(record) => {
                    return Ok(Some(Executed { outcome: Outcome::Repeated, record }));
                }
                Before::OtherWords(key) => (key, Err(conversation::reused(command))),
                Before::Nothing => {
                    let decide = || held.entity().decide(command, now);
                    (command.key(), forced.take().map_or_else(decide, Err))
                }
            };
            let outcome = outcome_of(&decision);
            if keep == Keep::Accepted && outcome != Outcome::Accepted {
                return Ok(None);
            }
            if decision.as_ref().is_err_and(|rejection| !rejection.is_recorded) {
                // What is not stored has no guard that would notice that something came first.
                if !std::mem::replace(&mut is_sure, true) {
                    entities.catch_up(tail, held).await.map_err(Undecided::Read)?;
                    continue;
                }
                return Ok(Executed::unrecorded(command, decision, now));
            }
            match self.append(held, (command, key), decision, keep, now).await {
                Ok(record) => return Ok(Some(Executed { outcome, record })),
                Err(Undecided::Append(AppendError::Conflict)) => {
                    self.inner.metrics.conflicts.inc();
                    entities.catch_up(tail, held).await.map_err(Undecided::Read)?;
                }
                Err(Undecided::Append(AppendError::TooLarge)) if outcome == Outcome::Accepted => {
                    forced = Some(record::too_large());
                }
                Err(other) => return Err(other),
            }
        }
        Err(Undecided::Contended)
    }

    async fn append(
        &self,
        held: &mut Held,
        (command, key): (&Command, String),
        decision: Result<Decision, Rejection>,
        keep: Keep,
        now: OffsetDateTime,
    ) -> Result<RecordedEvent, Undecided> {
        // An id for this attempt alone: should an earlier one still be on its way, the guard lets one of them in.
        let id = ids::ordered();
        let admitted =
            record::admit(self.inner.intake.catalogue(), (command, &key), decision, keep, &id, now);
        let mut admitted = admitted.map_err(Undecided::Hopeless)?;
        self.seal(&mut admitted).await?;
        let expect =
            Expect { guard: admitted.subject.address().guard(), sequence: held.expected() };
        let appended = self.inner.log.publish_envelope(
            &admitted.subject,
            &admitted.message_id,
            &admitted.envelope,
            Some(expect),
        );
        let appended = appended.await.map_err(Undecided::Append)?;
        held.appended(appended.sequence);
        Ok(RecordedEvent::new(admitted.envelope, appended.sequence, now))
    }

    /// What a command brought sealed for its sender is sealed for whom the event is about. Where that is always done
    /// they are the same person, and there is nothing to do.
    async fn seal(&self, admitted: &mut Admitted) -> Result<(), Undecided> {
        let catalogue = self.inner.intake.catalogue();
        let kind = catalogue.by_type(&admitted.envelope.event_type);
        let optional = kind.filter(|kind| kind.protection.as_ref().is_some_and(|it| !it.always));
        if optional.is_some() {
            protection::seal(&self.inner.intake, admitted).await.map_err(Undecided::Seal)?;
        }
        Ok(())
    }

    async fn tell_now(&self, command: &Command, place: u64) -> Result<(), Untold> {
        // What is decided has an entity.
        let Ok((tail, mut held)) = self.hold(command).await else { return Ok(()) };
        let told = self.tell(tail, &mut held, command, place).await;
        self.inner.entities.release(held);
        told
    }

    async fn tell(
        &self,
        tail: &Tail,
        held: &mut Held,
        command: &Command,
        place: u64,
    ) -> Result<(), Untold> {
        let entities = &self.inner.entities;
        entities.advance(tail, held).await.map_err(Untold::Read)?;
        let found = entities.record(tail, held, place).await.map_err(Untold::Read)?;
        let Some(event) = found else { return Ok(()) };
        for draft in held.entity().follow_ups(&event) {
            // One of a type for each decision: the same whenever it is told again.
            let id = format!("{}:{}", event.id, draft.event_type);
            let (catalogue, cause) = (self.inner.intake.catalogue(), event.id.clone());
            let now = event.stored_at;
            let admitted = record::admit_draft(catalogue, &command.tenant, draft, cause, &id, now);
            let admitted = admitted.map_err(Untold::Refused)?;
            self.inner.intake.store(Way::Own, admitted).await.map_err(Untold::Store)?;
        }
        Ok(())
    }
}

fn outcome_of(decision: &Result<Decision, Rejection>) -> Outcome {
    match decision {
        Ok(Decision::Recorded(_)) => Outcome::Accepted,
        Ok(Decision::Unchanged(_)) => Outcome::Unchanged,
        Err(_) => Outcome::Rejected,
    }
}

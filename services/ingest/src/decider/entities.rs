//! The states of entities, folded from the log as far as their categories' tails have come and kept for the next
//! command. One command at a time is decided on an entity; another instance's is noticed by the guard.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::aggregate::{Entity, RecordedEvent};
use domain::{Address, Subject, aggregates};
use runtime::LogMessage;
use runtime::log_reader::{LogReader, ReadError};
use tokio::sync::OwnedMutexGuard;
use tracing::warn;

use super::tail::Tail;
use crate::stored;

/// Entities, and commands remembered by them, that are kept in memory; the others are folded anew.
const WEIGHT: usize = 200_000;
/// Events that are read at a time.
const CHUNK: usize = 256;
/// How long a decision waits for its category's tail before it asks the log itself.
const TAIL_WITHIN: Duration = Duration::from_millis(100);

/// The folded state of one entity and how it stands to the log.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) entity: Box<dyn Entity>,
    /// The sequence of its last event: what the next append expects.
    pub(super) expected: u64,
    /// The last event that this process appended: the tail must have come so far.
    appended: u64,
    /// The event that was folded last: most often the record that is asked for next.
    last: Option<RecordedEvent>,
    life: u64,
}

type Shared = Arc<tokio::sync::Mutex<Known>>;

#[derive(Default)]
struct Generation {
    known: HashMap<String, Shared>,
    weight: usize,
}

/// Two generations: when the younger is full the older is forgotten.
pub(super) struct Entities {
    generations: Mutex<(Generation, Generation)>,
    reader: LogReader,
}

/// Held while something is decided on an entity.
pub(super) struct Held {
    known: OwnedMutexGuard<Known>,
    address: Address,
    size: usize,
}

impl Entities {
    pub(super) fn new(reader: LogReader) -> Self {
        Self { generations: Mutex::default(), reader }
    }

    /// The entity as far as it is known, once nobody else decides on it. `None` for a category without behaviour.
    pub(super) async fn hold(&self, tail: &Tail, address: &Address) -> Option<Held> {
        let shared = self.shared(tail, address)?;
        let known = shared.lock_owned().await;
        let size = known.entity.size();
        Some(Held { known, address: address.clone(), size })
    }

    fn shared(&self, tail: &Tail, address: &Address) -> Option<Shared> {
        let name = address.guard();
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let (young, old) = &mut *generations;
        if let Some(shared) = young.known.get(&name) {
            return Some(shared.clone());
        }
        let shared = match old.known.remove(&name) {
            Some(shared) => shared,
            None => Arc::new(tokio::sync::Mutex::new(Known::blank(tail)?)),
        };
        let weight = 1 + shared.try_lock().map_or(0, |known| known.entity.size());
        young.known.insert(name, shared.clone());
        Self::grow(young, old, weight);
        Some(shared)
    }

    /// Gives an entity back.
    pub(super) fn release(&self, held: Held) {
        let grown = held.known.entity.size().saturating_sub(held.size);
        drop(held);
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let (young, old) = &mut *generations;
        Self::grow(young, old, grown);
    }

    fn grow(young: &mut Generation, old: &mut Generation, weight: usize) {
        young.weight += weight;
        if young.weight > WEIGHT / 2 {
            *old = mem::take(young);
        }
    }

    /// Folds what the tail has seen since.
    pub(super) async fn advance(&self, tail: &Tail, held: &mut Held) -> Result<(), ReadError> {
        let life = tail.progress().life;
        if held.life() != life {
            held.forget(tail);
        }
        // A tail that is still on its way cannot say that there is nothing.
        let knows = tail.progress().warm && tail.reaches(held.known.appended, TAIL_WITHIN).await;
        if !knows {
            return self.fold_from_leader(tail, held).await;
        }
        let hash = tail.hash(&held.address);
        let news = tail.index().after(hash, held.known.expected);
        match news {
            Some(sequences) => self.fold(tail, held, &sequences).await,
            None => self.fold_from_leader(tail, held).await,
        }
    }

    /// After a conflict: waits until what came first is known, or asks the log's leader for all there is.
    pub(super) async fn catch_up(&self, tail: &Tail, held: &mut Held) -> Result<(), ReadError> {
        let (stream, guard) = (tail.stream().name(), held.address.guard());
        let last = self.reader.last_of_subject_from_leader(stream, &guard).await?;
        let last = last.map_or(0, |message| message.sequence);
        if last < held.known.expected {
            // Retention has taken what was expected.
            return self.fold_anew(tail, held).await;
        }
        if tail.reaches(last, TAIL_WITHIN).await {
            self.advance(tail, held).await?;
        }
        if held.known.expected < last {
            self.fold_from_leader(tail, held).await?;
        }
        Ok(())
    }

    async fn fold(&self, tail: &Tail, held: &mut Held, sequences: &[u64]) -> Result<(), ReadError> {
        for chunk in sequences.chunks(CHUNK) {
            let found = self.reader.get_many(tail.stream().name(), chunk).await?;
            // What is not there any more has expired.
            found.into_iter().flatten().for_each(|message| held.evolve(message));
        }
        Ok(())
    }

    /// What comes behind the state, one by one: for an entity that was forgotten, and where the tail is behind.
    async fn fold_from_leader(&self, tail: &Tail, held: &mut Held) -> Result<(), ReadError> {
        let (stream, guard) = (tail.stream().name(), held.address.guard());
        let begun = held.known.expected;
        let (mut from, mut sequences) = (begun + 1, Vec::new());
        while let Some(message) = self.reader.next_from_leader(stream, from, &guard).await? {
            from = message.sequence + 1;
            sequences.push(message.sequence);
            held.evolve(message);
        }
        if begun == 0 {
            tail.index().learn(tail.hash(&held.address), sequences);
        }
        Ok(())
    }

    /// Forgets what was folded and asks the leader for all there is.
    pub(super) async fn fold_anew(&self, tail: &Tail, held: &mut Held) -> Result<(), ReadError> {
        held.forget(tail);
        self.fold_from_leader(tail, held).await
    }

    /// A record of this entity as it stands in the log.
    pub(super) async fn record(
        &self,
        tail: &Tail,
        held: &Held,
        sequence: u64,
    ) -> Result<Option<RecordedEvent>, ReadError> {
        if let Some(last) = held.known.last.as_ref().filter(|last| last.sequence == sequence) {
            return Ok(Some(last.clone()));
        }
        let found = self.reader.get(tail.stream().name(), sequence).await?;
        Ok(found.and_then(|message| stored::recorded(&message).ok()))
    }
}

impl Known {
    fn blank(tail: &Tail) -> Option<Self> {
        let entity = aggregates::blank(tail.category())?;
        let life = tail.progress().life;
        Some(Self { entity, expected: 0, appended: 0, last: None, life })
    }
}

impl Held {
    pub(super) fn entity(&self) -> &dyn Entity {
        &*self.known.entity
    }

    pub(super) fn expected(&self) -> u64 {
        self.known.expected
    }

    /// This process has appended its next event.
    pub(super) fn appended(&mut self, sequence: u64) {
        self.known.appended = self.known.appended.max(sequence);
    }

    fn life(&self) -> u64 {
        self.known.life
    }

    fn forget(&mut self, tail: &Tail) {
        if let Some(blank) = Known::blank(tail) {
            *self.known = blank;
        }
    }

    fn evolve(&mut self, message: LogMessage) {
        // Two entities may share a hash.
        let ours = Subject::parse(&message.subject).is_ok_and(|s| *s.address() == self.address);
        if !ours || message.sequence <= self.known.expected {
            return;
        }
        self.known.expected = message.sequence;
        match stored::recorded(&message) {
            Ok(event) => {
                self.known.entity.evolve(&event);
                self.known.last = Some(event);
            }
            Err(reason) => {
                warn!(sequence = message.sequence, %reason, "an event of an entity cannot be read");
            }
        }
    }
}

//! An alert as the log's leader has it at this moment: for who must not take "nobody waits" on trust.
//!
//! What this instance has seen of it is read by sequence, many events at a time; the leader is asked for the rest alone,
//! so that an alert which has waited for weeks is read about as quickly as one that was raised just now.

use std::time::Duration;

use domain::aggregate::{Aggregate as _, Decision};
use domain::aggregates::crisis::{Crisis, State};
use domain::escalation::{Chain, Due, Timer};
use domain::{Address, Command, StreamId, Subject};
use runtime::LogMessage;
use runtime::log_reader::{LogReader, ReadError};
use runtime::nats::Nats;
use tokio::time::timeout;

use crate::decider::Decider;
use crate::stored;

/// Events that are read at a time.
const CHUNK: usize = 256;
/// For all reads about one alert, where a job waits for them.
const WITHIN: Duration = Duration::from_secs(2);
/// The same where nothing waits for them.
const WITHIN_A_ROUND: Duration = Duration::from_secs(30);

/// A handle that is cheap to clone.
#[derive(Clone)]
pub(crate) struct Alerts {
    reader: LogReader,
    decider: Decider,
}

/// One alert's entity, as far as it was read.
#[derive(Clone)]
struct Fold<'a> {
    address: &'a Address,
    state: State,
    last: u64,
    /// Whose clocks are noted, and those that its events have started.
    chain: Option<&'a Chain>,
    clocks: Vec<Timer>,
}

impl Alerts {
    pub(crate) fn new(nats: &Nats, decider: &Decider) -> Self {
        Self { reader: nats.log_reader(), decider: decider.clone() }
    }

    /// Whether a command would still bring something about.
    pub(crate) async fn would_record(
        &self,
        address: &Address,
        command: &Command,
    ) -> Result<bool, ReadError> {
        let state = self.load(address).await?;
        let decision = Crisis::decide(&state, command, command.time);
        Ok(matches!(decision, Ok(Decision::Recorded(_))))
    }

    pub(crate) async fn load(&self, address: &Address) -> Result<State, ReadError> {
        Ok(self.fold(Fold::of(address, None), WITHIN).await?.state)
    }

    /// The clock that an open alert waits for; of several the one that runs out first.
    pub(super) async fn clock(
        &self,
        address: &Address,
        chain: &Chain,
    ) -> Result<Option<Timer>, ReadError> {
        let fold = self.fold(Fold::of(address, Some(chain)), WITHIN_A_ROUND).await?;
        let waits = fold.clocks.into_iter().filter(|timer| is_awaited(&fold.state, timer));
        Ok(waits.min_by_key(|timer| timer.due))
    }

    async fn fold<'a>(&self, none: Fold<'a>, within: Duration) -> Result<Fold<'a>, ReadError> {
        let all = async {
            let mut fold = self.seen(none.clone()).await?.unwrap_or(none);
            self.rest(&mut fold).await?;
            Ok(fold)
        };
        timeout(within, all).await.map_err(|_| ReadError::Timeout)?
    }

    /// What this instance has seen. `None` if the log has something else there: it is another stream then, or was put
    /// back, and nothing that was seen of it counts.
    async fn seen<'a>(&self, mut fold: Fold<'a>) -> Result<Option<Fold<'a>>, ReadError> {
        for chunk in self.decider.seen(fold.address).chunks(CHUNK) {
            for message in self.reader.get_many(StreamId::Crisis.name(), chunk).await? {
                let ours = message.filter(|message| fold.is_ours(message));
                let Some(message) = ours else { return Ok(None) };
                fold.take(&message);
            }
        }
        Ok(Some(fold))
    }

    /// What the leader has behind it.
    async fn rest(&self, fold: &mut Fold<'_>) -> Result<(), ReadError> {
        let (stream, guard) = (StreamId::Crisis.name(), fold.address.guard());
        loop {
            let next = self.reader.next_from_leader(stream, fold.last + 1, &guard).await?;
            let Some(message) = next else { return Ok(()) };
            fold.take(&message);
        }
    }
}

impl<'a> Fold<'a> {
    fn of(address: &'a Address, chain: Option<&'a Chain>) -> Self {
        Self { address, state: State::default(), last: 0, chain, clocks: Vec::new() }
    }

    fn is_ours(&self, message: &LogMessage) -> bool {
        Subject::parse(&message.subject).is_ok_and(|subject| subject.address() == self.address)
    }

    fn take(&mut self, message: &LogMessage) {
        self.last = message.sequence;
        if let Ok(event) = stored::recorded(message) {
            Crisis::evolve(&mut self.state, &event);
            self.clocks.extend(self.chain.and_then(|chain| chain.clock(&event)));
        }
    }
}

/// Whether it would still bring something about when it runs out.
fn is_awaited(state: &State, timer: &Timer) -> bool {
    let Some(alert) = state.open().filter(|alert| alert.id == timer.alert_id) else { return false };
    match timer.what {
        Due::Escalation { step } => alert.waits() && step > alert.step,
        Due::Reopening { round } => !alert.waits() && round == alert.round,
    }
}

#[cfg(test)]
mod tests;

//! An alert as the log's leader has it at this moment: for who must not take "nobody waits" on trust.

use domain::aggregate::{Aggregate as _, Decision, RecordedEvent};
use domain::aggregates::crisis::{Crisis, State};
use domain::escalation::{Chain, Due, Timer};
use domain::{Address, Command, StreamId};
use runtime::log_reader::{LogReader, ReadError};
use runtime::nats::Nats;

use crate::stored;

/// A handle that is cheap to clone.
#[derive(Clone)]
pub(crate) struct Alerts {
    reader: LogReader,
}

impl Alerts {
    pub(crate) fn new(nats: &Nats) -> Self {
        Self { reader: nats.log_reader() }
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
        self.fold(address, |_| {}).await
    }

    /// The clock that an open alert waits for; of several the one that runs out first.
    pub(super) async fn clock(
        &self,
        address: &Address,
        chain: &Chain,
    ) -> Result<Option<Timer>, ReadError> {
        let mut clocks = Vec::new();
        let state = self.fold(address, |event| clocks.extend(chain.clock(event))).await?;
        let waits = clocks.into_iter().filter(|timer| is_awaited(&state, timer));
        Ok(waits.min_by_key(|timer| timer.due))
    }

    async fn fold(
        &self,
        address: &Address,
        mut see: impl FnMut(&RecordedEvent),
    ) -> Result<State, ReadError> {
        let (stream, guard) = (StreamId::Crisis.name(), address.guard());
        let (mut state, mut from) = (State::default(), 1);
        while let Some(message) = self.reader.next_from_leader(stream, from, &guard).await? {
            from = message.sequence + 1;
            if let Ok(event) = stored::recorded(&message) {
                Crisis::evolve(&mut state, &event);
                see(&event);
            }
        }
        Ok(state)
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

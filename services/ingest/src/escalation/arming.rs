//! An event that starts a clock becomes a schedule. What is due follows from the event and the chain in force.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::Envelope;
use domain::aggregate::RecordedEvent;
use domain::escalation::{Chains, Timer};
use domain::token::Tenant;
use runtime::durable::Job;
use runtime::event_log::AppendError;
use runtime::ids;
use runtime::schedules::{Schedule, Schedules};
use runtime::telemetry::chain;
use tracing::{error, warn};

use super::Registry;
use crate::stored;
use crate::worker::{Settled, pause};

/// Nobody waits longer than this for a clock because the log was away for a moment.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

pub(super) struct Arming {
    chains: Registry,
    schedules: Schedules,
}

impl Arming {
    pub(super) fn new(chains: Registry, schedules: Schedules) -> Self {
        Self { chains, schedules }
    }

    pub(super) async fn handle(&self, job: Arc<Job>) -> Settled {
        self.arm(&job).await
    }

    pub(super) fn chains(&self) -> Arc<Chains> {
        self.chains.current()
    }

    pub(super) async fn set(&self, tenant: &Tenant, timer: &Timer) -> Result<(), AppendError> {
        self.set_as(tenant, timer, format!("{tenant}:clock:{}", timer.id)).await
    }

    /// Also where it was set a moment ago and is lost: the stream takes it for another one, and holds one of them.
    pub(super) async fn set_again(
        &self,
        tenant: &Tenant,
        timer: &Timer,
    ) -> Result<(), AppendError> {
        self.set_as(tenant, timer, format!("{tenant}:clock:{}:{}", timer.id, ids::ordered())).await
    }

    async fn set_as(
        &self,
        tenant: &Tenant,
        timer: &Timer,
        message_id: String,
    ) -> Result<(), AppendError> {
        let schedule = Schedule {
            subject: timer.subject(tenant),
            target: timer.due_subject(tenant),
            at: timer.due,
            message_id,
            payload: Bytes::from(timer.payload()),
        };
        self.schedules.set(schedule).await
    }

    async fn arm(&self, job: &Job) -> Settled {
        let Some((envelope, event)) = recorded(job) else { return Settled::Never };
        let chains = self.chains.current();
        let Some(timer) = chains.of(&envelope.tenant).clock(&event) else { return Settled::Done };
        match self.set(&envelope.tenant, &timer).await {
            Ok(()) => Settled::Done,
            Err(error) => {
                warn!(error = chain(&error), sequence = event.sequence, "a clock is not set yet");
                Settled::Later(pause(job.delivered, LONGEST_PAUSE))
            }
        }
    }
}

/// The event of a job. One that cannot be read never got past the gate, so it is a fault of the platform.
pub(crate) fn recorded(job: &Job) -> Option<(Envelope, RecordedEvent)> {
    let message = &job.message;
    match (stored::envelope(message), stored::recorded(message)) {
        (Ok(envelope), Ok(event)) => Some((envelope, event)),
        (Err(reason), _) | (_, Err(reason)) => {
            error!(sequence = message.sequence, %reason, "a stored event cannot be read");
            None
        }
    }
}

//! An event that starts a clock becomes a schedule. What is due follows from the event and the chain in force.

use std::time::Duration;

use bytes::Bytes;
use domain::Envelope;
use domain::aggregate::RecordedEvent;
use runtime::durable::Job;
use runtime::schedules::{Schedule, Schedules};
use runtime::telemetry::chain;
use tracing::{error, warn};

use super::Registry;
use super::alerts::stored_at;
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

    pub(super) async fn handle(&self, job: Job) -> (Job, Settled) {
        let settled = self.arm(&job).await;
        (job, settled)
    }

    async fn arm(&self, job: &Job) -> Settled {
        let Some((envelope, event)) = recorded(job) else { return Settled::Never };
        let chains = self.chains.current();
        let Some(timer) = chains.of(&envelope.tenant).clock(&event) else { return Settled::Done };
        let schedule = Schedule {
            subject: timer.subject(&envelope.tenant),
            target: timer.due_subject(&envelope.tenant),
            at: timer.due,
            message_id: format!("{}:clock:{}", envelope.tenant, timer.id),
            payload: Bytes::from(timer.payload()),
        };
        match self.schedules.set(schedule).await {
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
    let read = Envelope::from_message(&message.subject, &message.headers, message.payload.clone());
    match read {
        Ok(envelope) => {
            let stored = stored_at(message.stored_at);
            Some((envelope.clone(), RecordedEvent::new(envelope, message.sequence, stored)))
        }
        Err(reason) => {
            error!(sequence = message.sequence, %reason, "a stored event cannot be read");
            None
        }
    }
}

//! What leaves the platform: ending calls at their provider, paging the webhooks of escalation tiers.
//!
//! An event asks for it, a durable brings the event for as long as it is not settled, and the outcome is an event again:
//! stored once, under a message id that follows from what asked. Killed at any moment it is done at least once; whoever
//! is called recognises a repeat.

use std::sync::Arc;

use domain::StreamId;
use domain::catalogue::{Publication, Refusal};
use domain::token::Tenant;
use runtime::durable::Durable;
use runtime::http_client::{Client, Limits};
use runtime::nats::Nats;
use runtime::tasks::Tasks;

mod calls;
mod paging;
mod places;
mod tries;
mod twilio;

pub use twilio::Twilio;

use crate::escalation::{Alerts, Registry};
use crate::intake::{Intake, IntakeError};
use crate::metrics::Way;
use crate::worker;

/// Jobs that are begun at one time; most of them wait for one of the [`Places`].
const BEGUN: usize = 1_024;
const FETCHED_AHEAD: usize = 64;
const LIMITS: Limits = Limits { deadline: std::time::Duration::from_secs(5), max_body: 64 * 1024 };
const CALLS: (&str, &str) = ("CALLS", "ingest-effects");
const PAGES: (&str, &str) = ("CRISIS", "ingest-paging");

/// What both kinds need.
pub(crate) struct Outside {
    pub(crate) intake: Intake,
    pub(crate) client: Client,
}

/// Between looks at whether repeats are recognised again, as after a start.
const UNTIL_WARM: std::time::Duration = std::time::Duration::from_secs(1);

/// Why an outcome is not recorded yet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unrecorded {
    #[error("the outcome is no event that the catalogue admits")]
    Refused(#[source] Refusal),
    #[error("the outcome is not stored")]
    Store(#[source] IntakeError),
}

impl Outside {
    /// The outcome of what `key` names; the first that is stored counts.
    async fn record(
        &self,
        tenant: &Tenant,
        source: &str,
        key: &str,
        outcome: Publication,
    ) -> Result<(), Unrecorded> {
        let outcome =
            Publication { source: source.to_owned(), key: Some(key.to_owned()), ..outcome };
        let admitted = self.intake.admit_own(tenant, outcome);
        let admitted = admitted.map_err(Unrecorded::Refused)?;
        self.intake.store(Way::Own, admitted).await.map(drop).map_err(Unrecorded::Store)
    }

    /// Whether outcomes of before are recognised. Otherwise a job that comes again could be done again.
    fn is_warm(&self, stream: StreamId) -> bool {
        self.intake.is_warm(stream)
    }

    /// Whether there is an outcome already, as after a crash between the outcome and the acknowledgement.
    async fn is_recorded(
        &self,
        stream: StreamId,
        tenant: &Tenant,
        source: &str,
        key: &str,
    ) -> bool {
        self.intake.is_stored(stream, &format!("{tenant}:{source}:{key}")).await
    }
}

/// Starts both kinds.
pub(crate) fn start(
    tasks: &mut Tasks,
    nats: &Nats,
    intake: &Intake,
    (chains, alerts): (&Registry, Alerts),
    twilio: Option<Twilio>,
) -> Result<(), runtime::tasks::BoxError> {
    let client = Client::new(LIMITS)?;
    let outside = Arc::new(Outside { intake: intake.clone(), client });
    let calls = calls::Calls::new(outside.clone(), twilio);
    let durable = Durable::open(nats, CALLS.0, CALLS.1).with_batch(FETCHED_AHEAD);
    let stop = tasks.shutdown();
    tasks.spawn("calls to end", async move {
        worker::work(durable, BEGUN, stop, |job| calls.handle(job)).await
    });
    let paging = paging::Paging::new(outside, chains.clone(), alerts);
    let durable = Durable::open(nats, PAGES.0, PAGES.1).with_batch(FETCHED_AHEAD);
    let stop = tasks.shutdown();
    tasks.spawn("paging", async move {
        worker::work(durable, BEGUN, stop, |job| paging.handle(job)).await
    });
    Ok(())
}

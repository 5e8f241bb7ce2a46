//! Takes teams' publications out of INBOX: through the gate into the log, or into quarantine with a notice.
//!
//! Publications of one tenant and stream go through one lane as they were delivered; lanes run beside each other. One
//! that the log does not take even after some attempts comes again behind others.

use std::time::Duration;

use domain::StreamId;
use domain::subject;
use domain::token::{EntityToken, Tenant, Token};
use runtime::durable::{Durable, Job, NotSettled};
use runtime::nats::Nats;
use runtime::tasks::BoxError;
use runtime::telemetry::{TARGET, chain};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, error, info_span, warn};

use crate::gate::Refused;
use crate::intake::{Intake, IntakeError};
use crate::lanes::{self, backoff};
use crate::metrics::Way;
use crate::protection;
use crate::publication::Message;
use crate::quarantine::{self, Quarantined};
use crate::stored;

/// The stream that holds publications, the durable that shares them among instances, the origin in quarantine.
const STREAM: &str = "INBOX";
const DURABLE: &str = "ingest";
pub(crate) const ORIGIN: &str = "inbox";

const LANES: usize = 32;
/// Attempts in place, so that a short outage does not change the order of one publisher's events.
const ATTEMPTS: u32 = 3;
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// What publications are stored with.
#[derive(Clone)]
struct Inbox {
    intake: Intake,
    nats: Nats,
}

/// Works until `shutdown`, then finishes what has begun and gives the rest back.
pub(crate) async fn run(
    intake: Intake,
    nats: Nats,
    grace: Duration,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    let durable = Durable::open(&nats, STREAM, DURABLE);
    lanes::run(durable, LANES, Inbox { intake, nats }, grace, shutdown).await
}

impl lanes::Work for Inbox {
    fn lane<'a>(&self, subject: &'a str) -> impl std::hash::Hash + use<'a> {
        lane_of(subject)
    }

    async fn work(&self, job: &Job, shutdown: &CancellationToken) -> Result<(), NotSettled> {
        let span = info_span!(target: TARGET, parent: None, "publication", attempt = job.delivered);
        work(&self.intake, &self.nats, job, shutdown).instrument(span).await
    }
}

/// One tenant's publications of one stream have this in common.
fn lane_of(subject: &str) -> (&str, Option<StreamId>) {
    let mut tokens = subject.split('.').skip(1);
    let tenant = tokens.next().unwrap_or_default();
    (tenant, StreamId::of_category(tokens.next().unwrap_or_default()))
}

/// Why a publication is not settled yet.
enum Later {
    Store(IntakeError),
    Quarantine(runtime::event_log::AppendError),
}

async fn work(
    intake: &Intake,
    nats: &Nats,
    job: &Job,
    shutdown: &CancellationToken,
) -> Result<(), NotSettled> {
    let message = message_of(job);
    for attempt in 1..=ATTEMPTS {
        match settle(intake, nats, &message).await {
            Ok(()) => return job.ack().await,
            Err(later) => explain(&later, job),
        }
        if attempt < ATTEMPTS && !shutdown.is_cancelled() {
            tokio::time::sleep(Duration::from_millis(200) * attempt).await;
        }
    }
    job.nak(backoff(job.delivered, LONGEST_BACKOFF)).await
}

fn explain(later: &Later, job: &Job) {
    let error = match later {
        Later::Store(error) => chain(error),
        Later::Quarantine(error) => chain(error),
    };
    warn!(error, sequence = job.message.sequence, "a publication waits in INBOX");
}

fn message_of(job: &Job) -> Message {
    let message = &job.message;
    Message::new(
        &message.subject,
        message.headers.iter(),
        message.payload.clone(),
        stored::at(message.stored_at),
        format!("{STREAM}:{}", message.sequence),
    )
}

/// Into the log, or into quarantine; an error means that neither has happened.
async fn settle(intake: &Intake, nats: &Nats, message: &Message) -> Result<(), Later> {
    let Some(tenant) = message.tenant() else {
        error!("a publication names no tenant and is dropped");
        return Ok(());
    };
    let refused = match submit(intake, &tenant, message, Way::Inbox).await {
        Ok(_) => return Ok(()),
        Err(Outcome::Refused(refused)) => refused,
        Err(Outcome::Failed(error)) if error.is_too_large() => {
            Refused::new("too_large", None, "the event is larger than the log accepts")
        }
        Err(Outcome::Failed(error)) => return Err(Later::Store(error)),
    };
    intake.metrics().refused(refused.code);
    let entry = entry(&tenant, message, &refused);
    let id = quarantine::keep(intake.log(), &entry).await.map_err(Later::Quarantine)?;
    intake.metrics().quarantined.inc();
    notify(nats, &tenant, message, &refused, id).await;
    Ok(())
}

/// Why a publication did not get into the log.
pub(crate) enum Outcome {
    Refused(Refused),
    Failed(IntakeError),
}

/// Through the gate and into the log.
pub(crate) async fn submit(
    intake: &Intake,
    tenant: &Tenant,
    message: &Message,
    way: Way,
) -> Result<crate::intake::Stored, Outcome> {
    let publication = message.read(intake.catalogue()).map_err(Outcome::Refused)?;
    let publication = protection::open(intake, tenant, publication, way).await?;
    let admitted = if message.is_from_gateway() {
        intake.admit_own(tenant, publication)
    } else {
        intake.admit(tenant, publication)
    };
    let admitted = admitted.map_err(|refusal| Outcome::Refused(refusal.into()))?;
    let admitted = protection::refuse_copied(admitted, None).map_err(Outcome::Refused)?;
    let _place = intake.enter().map_err(Outcome::Failed)?;
    intake.store(way, admitted).await.map_err(Outcome::Failed)
}

fn entry(tenant: &Tenant, message: &Message, refused: &Refused) -> Quarantined {
    Quarantined {
        tenant: tenant.clone(),
        origin: origin(),
        place: message.subject.clone(),
        source: message.source().to_owned(),
        reason: refused.to_string(),
        received: message.stored,
        kept: message.headers.clone(),
        payload: message.payload.clone(),
    }
}

fn origin() -> Token {
    EntityToken::from_external(ORIGIN).into()
}

/// Tells the team. Nothing hangs on it: the entry in quarantine is what counts.
async fn notify(nats: &Nats, tenant: &Tenant, message: &Message, refused: &Refused, id: u64) {
    let notice = json!({
        "subject": message.subject,
        "id": message.id(),
        "code": refused.code,
        "pointer": refused.pointer,
        "reason": refused.detail,
        "quarantined": id.to_string(),
    });
    let headers = [("content-type", "application/json".to_owned())];
    let subject = subject::rejected_notice(tenant);
    if let Err(error) = nats.publish(&subject, &headers, notice.to_string().into()).await {
        warn!(%error, "a team was not told of a refused publication");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tenants_events_of_one_stream_share_a_lane() {
        assert_eq!(
            lane_of("publish.acme.message.1.sent"),
            lane_of("publish.acme.contact.2.created")
        );
        assert_ne!(lane_of("publish.acme.message.1.sent"), lane_of("publish.acme.call.2.update"));
        assert_eq!(origin().as_str(), ORIGIN);
    }
}

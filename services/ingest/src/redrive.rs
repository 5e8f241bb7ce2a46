//! Answers requests to try a quarantined payload again: read, map and admit as if it had just been verified, or decide
//! if it is a command.

use std::time::Duration;

use domain::envelope::Headers;
use domain::replay::Answer;
use domain::token::Tenant;
use domain::{Command, command, subject};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use runtime::nats::Nats;
use runtime::requests::Request;
use runtime::tasks::BoxError;
use runtime::telemetry::chain;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::decider::{Decider, Keep, Undecided};
use crate::inbox::{self, Outcome};
use crate::intake::{Intake, Stored};
use crate::metrics::Way;
use crate::publication::Message;
use crate::quarantine::Quarantined;
use crate::receive::{self, ReceiveError, Webhook};
use crate::sources::Registry;

const QUEUE: &str = "ingest";
/// More than this many wait in the subscription.
const AT_ONCE: usize = 16;
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Serialize)]
struct Redriven {
    events: Vec<Stored>,
}

/// Answers until `shutdown`.
pub(crate) async fn serve(
    intake: Intake,
    decider: Decider,
    sources: Registry,
    nats: Nats,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    let at = Again { intake, decider, sources };
    let mut server = nats.serve(subject::redrive_requests(), QUEUE).await?;
    let mut open = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(()) = open.next() => {}
            request = server.next(), if open.len() < AT_ONCE => match request {
                Some(request) => open.push(at.respond(request)),
                None => break,
            }
        }
    }
    server.stop().await;
    let rest = async { while open.next().await.is_some() {} };
    // Who asked asks again; the log knows what it has stored.
    let _ = tokio::time::timeout(PAUSE, rest).await;
    Ok(())
}

/// Why it is still not stored.
struct Why {
    code: &'static str,
    message: String,
}

fn why(code: &'static str, message: impl Into<String>) -> Why {
    Why { code, message: message.into() }
}

fn unavailable(error: &(dyn std::error::Error + 'static)) -> Why {
    why("log_unavailable", chain(error))
}

/// Every way that a payload may have come.
struct Again {
    intake: Intake,
    decider: Decider,
    sources: Registry,
}

impl Again {
    async fn respond(&self, request: Request) {
        let answer = match self.redrive(&request).await {
            Ok(events) => Answer::Ok(Redriven { events }),
            Err(Why { code, message }) => {
                self.intake.metrics().refused(code);
                Answer::Refused { code: code.to_owned(), message }
            }
        };
        let text = serde_json::to_vec(&answer).unwrap_or_default();
        if let Err(error) = request.respond(text.into()).await {
            debug!(%error, "an answer to a redrive could not be sent");
        }
    }

    async fn redrive(&self, request: &Request) -> Result<Vec<Stored>, Why> {
        let tenant = subject::tenant_of_redrive(&request.subject)
            .map_err(|_| why("bad_request", "the subject names no tenant"))?;
        let quarantined = request.headers.get("Nats-Subject").unwrap_or("quarantine");
        let stand_in = format!("quarantine.{tenant}.redrive");
        let at = if quarantined.contains('.') { quarantined } else { &stand_in };
        let entry = Quarantined::read(at, &request.headers, request.payload.clone())
            .filter(|entry| entry.tenant == tenant)
            .ok_or_else(|| why("bad_request", "this is no quarantined message of the tenant"))?;
        if let Some(webhook) = Webhook::again(&entry) {
            return self.receive(&tenant, &entry, webhook).await;
        }
        if subject::tenant_of(&entry.place).as_ref() != Ok(&tenant) {
            return Err(why("bad_request", "the payload is another tenant's"));
        }
        if command::is_command(&entry.place) {
            return self.decide(&entry).await;
        }
        self.submit(&tenant, &entry).await
    }

    async fn receive(
        &self,
        tenant: &Tenant,
        entry: &Quarantined,
        webhook: Webhook,
    ) -> Result<Vec<Stored>, Why> {
        let sources = self.sources.current();
        let unknown = || why("unknown_source", format!("there is no source {:?}", entry.source));
        let source = sources
            .named(&entry.source)
            .filter(|source| source.tenant == *tenant && source.provider.serves(&webhook.kind))
            .ok_or_else(unknown)?;
        match receive::store(&self.intake, source, &webhook, Way::Redrive).await {
            Ok(received) => match received.unread {
                None => Ok(received.events),
                Some(reason) => Err(why("not_understood", reason)),
            },
            Err(ReceiveError::Unreadable(error)) => Err(why("not_understood", error.to_string())),
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// Who asked waits no longer; the decision is told as an event.
    async fn decide(&self, entry: &Quarantined) -> Result<Vec<Stored>, Why> {
        let command = Command::from_message(&entry.place, &Kept(entry), &entry.payload);
        let command = command.map_err(|error| why("not_understood", error.to_string()))?;
        match self.decider.execute(&command, entry.received, Keep::Every).await {
            Ok(executed) => Ok(executed.into_iter().map(Stored::from).collect()),
            Err(Undecided::Hopeless(reason)) => Err(why("not_understood", chain(&reason))),
            Err(later) => Err(unavailable(&later)),
        }
    }

    async fn submit(&self, tenant: &Tenant, entry: &Quarantined) -> Result<Vec<Stored>, Why> {
        let message = Message {
            subject: entry.place.clone(),
            headers: entry.kept.clone(),
            payload: entry.payload.clone(),
            stored: entry.received,
        };
        match inbox::submit(&self.intake, tenant, &message, Way::Redrive).await {
            Ok(stored) => Ok(vec![stored]),
            Err(Outcome::Refused(refused)) => Err(why(refused.code, refused.detail)),
            Err(Outcome::Failed(error)) => Err(unavailable(&error)),
        }
    }
}

/// The headers that a payload came with.
struct Kept<'a>(&'a Quarantined);

impl Headers for Kept<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.kept.get(name).map(String::as_str)
    }
}

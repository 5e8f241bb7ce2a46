//! A clock that has run out becomes a decision, unless what it waited for has happened.
//!
//! It may come twice, late, or after somebody answered: the alert's state and the guard on it say no then, and that is
//! nothing to tell anybody.

use std::sync::Arc;
use std::time::Duration;

use domain::Command;
use domain::aggregates::crisis::{CLOCK, ESCALATE, REOPEN};
use domain::command::Actor;
use domain::escalation::{Called, Due, Timer};
use domain::identity::Role;
use domain::subject;
use domain::token::Tenant;
use runtime::durable::Job;
use runtime::log_reader::ReadError;
use runtime::schedules::Schedules;
use runtime::telemetry::chain;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use tracing::{error, warn};

use super::{Alerts, Registry, TIMERS};
use crate::decider::{Decider, Keep, Undecided};
use crate::metrics::{Metrics, Step};
use crate::stored;
use crate::worker::{Settled, pause};

const LONGEST_PAUSE: Duration = Duration::from_secs(5);

pub(super) struct Firing {
    pub(super) chains: Registry,
    pub(super) decider: Decider,
    pub(super) alerts: Alerts,
    pub(super) schedules: Schedules,
    pub(super) metrics: Metrics,
}

/// Why a clock that has run out is not dealt with.
#[derive(Debug, thiserror::Error)]
enum Later {
    #[error("the decision is not made")]
    Undecided(#[source] Undecided),
    #[error("the alert cannot be read")]
    Read(#[source] ReadError),
    #[error("its record (sequence {0}) is no step of the chain")]
    NotCalled(u64),
    #[error("this instance has not seen all of the alert yet")]
    Behind,
    #[error("the alert has no place in the log")]
    Address,
}

impl Firing {
    pub(super) async fn handle(&self, job: Arc<Job>) -> Settled {
        self.fire(&job).await
    }

    async fn fire(&self, job: &Job) -> Settled {
        let tenant = subject::tenant_of_timer(&job.message.subject);
        let timer = Timer::parse(&job.message.payload);
        let (Ok(tenant), Ok(timer)) = (tenant, timer) else {
            error!(sequence = job.message.sequence, "a clock that nobody knows has run out");
            return Settled::Never;
        };
        let command = self.command(&tenant, &timer, stored::at(job.message.stored_at));
        match self.decide(&timer, &command).await {
            Ok(step) => self.metrics.step(step),
            Err(error) => {
                warn!(error = chain(&error), sequence = job.message.sequence, "an alert waits");
                return Settled::Later(pause(job.delivered, LONGEST_PAUSE));
            }
        }
        // Before the acknowledgement: what is acknowledged and not removed would be kept for ever.
        if let Err(error) = self.schedules.clear(TIMERS, &job.message.subject).await {
            warn!(error = chain(&error), "a clock that has run out is not removed yet");
            return Settled::Later(pause(job.delivered, LONGEST_PAUSE));
        }
        Settled::Done
    }

    /// That nobody waits any more is believed of the log's leader alone: a clock that is let go does not come back.
    async fn decide(&self, timer: &Timer, command: &Command) -> Result<Step, Later> {
        let decided = self.decider.execute(command, command.time, Keep::Accepted).await;
        if let Some(decided) = decided.map_err(Later::Undecided)? {
            let step = match timer.what {
                Due::Escalation { .. } => Step::Escalated,
                Due::Reopening { .. } => Step::Reopened,
            };
            // Whatever else it became, the next tier is not called, and no other clock would call it.
            if !["crisis.escalated", "crisis.reopened"].contains(&&*decided.record.event_type) {
                return Err(Later::NotCalled(decided.record.sequence));
            }
            return Ok(step);
        }
        let address = command.address().map_err(|_| Later::Address)?;
        let waits = self.alerts.would_record(&address, command).await.map_err(Later::Read)?;
        if waits { Err(Later::Behind) } else { Ok(Step::Answered) }
    }

    fn command(&self, tenant: &Tenant, timer: &Timer, now: OffsetDateTime) -> Command {
        let (kind, mut data) = match timer.what {
            Due::Escalation { step } => (ESCALATE, self.call(tenant, timer, step)),
            Due::Reopening { round } => (REOPEN, fields(json!({ "round": round }))),
        };
        data.insert("alertId".to_owned(), timer.alert_id.as_str().into());
        Command {
            id: timer.event_id(),
            kind: kind.to_owned(),
            tenant: tenant.clone(),
            entity: timer.entity().to_owned(),
            actor: Actor { user: CLOCK.to_owned(), role: Role::Service },
            connection: None,
            reply: None,
            time: now,
            data,
        }
    }

    /// Who is called, by the chain as it is now.
    fn call(&self, tenant: &Tenant, timer: &Timer, step: u64) -> Map<String, Value> {
        let chains = self.chains.current();
        let tier = chains.of(tenant).tier(step);
        let mut data = fields(json!({ "step": step, "tier": tier.name }));
        match &tier.called {
            Called::Admins => {}
            Called::Agents => drop(data.insert("role".to_owned(), Role::Agent.name().into())),
            Called::Users(users) => drop(data.insert("users".to_owned(), users.clone().into())),
        }
        if tier.webhook.is_some() {
            data.insert("pageId".to_owned(), format!("page_{}", timer.event_id()).into());
        }
        data
    }
}

fn fields(data: Value) -> Map<String, Value> {
    match data {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

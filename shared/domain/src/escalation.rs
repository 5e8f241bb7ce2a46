//! Who is called when nobody answers an alert, and when: chains of tiers, and the clock that an event starts.
//!
//! Pure. A step is a call to a tier; steps count from 1 and go through the tiers again and again until a human
//! acknowledges. The alert itself reaches every admin; so a first tier that is no more than that has been called by it,
//! and any other first tier is called at once. What an event starts follows from the event and the chain alone, so arming
//! a clock twice is arming it once.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use time::Duration;

use crate::aggregate::RecordedEvent;
use crate::signatures::standard_webhooks::Key;
use crate::token::Tenant;

mod file;
#[cfg(test)]
mod tests;
mod timer;

pub use crate::severity::Severity;
pub use timer::{Timer, UnreadableTimer};

/// Seconds until the next step, by severity; low has no clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Within {
    pub imminent: u32,
    pub high: u32,
    pub moderate: u32,
}

/// Where a tier is paged besides.
#[derive(Clone)]
pub struct Webhook {
    pub url: Arc<str>,
    pub key: Key,
}

/// Neither the address, which may hold a token, nor the key.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Webhook")
    }
}

/// Whose channel a tier is called on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Called {
    Admins,
    /// Agents and admins.
    Agents,
    Users(Vec<String>),
}

#[derive(Clone, Debug)]
pub struct Tier {
    pub name: String,
    pub called: Called,
    pub webhook: Option<Webhook>,
}

impl Tier {
    /// Whether the alert itself, which goes to every admin, has called it.
    fn is_called_by_the_alert(&self) -> bool {
        self.called == Called::Admins && self.webhook.is_none()
    }
}

#[derive(Clone, Debug)]
pub struct Chain {
    pub acknowledge_within: Within,
    /// Seconds until an alert that was acknowledged and not resolved is opened again.
    pub resolve_within: u32,
    /// At least one, in order.
    tiers: Vec<Tier>,
}

impl Default for Chain {
    /// What holds where no file says anything else.
    fn default() -> Self {
        let tier = Tier { name: "admins".to_owned(), called: Called::Admins, webhook: None };
        Self { acknowledge_within: Within::DEFAULT, resolve_within: 900, tiers: vec![tier] }
    }
}

impl Within {
    const DEFAULT: Self = Self { imminent: 60, high: 300, moderate: 1800 };
}

impl Chain {
    /// The tier that a step calls; after the last comes the first again.
    pub fn tier(&self, step: u64) -> &Tier {
        let place = step.saturating_sub(1) % self.tiers.len() as u64;
        &self.tiers[place as usize]
    }

    /// Where the tier that a step called is paged; tiers may have been put elsewhere since.
    pub fn webhook_of(&self, step: u64, name: &str) -> Option<&Webhook> {
        let called = Some(self.tier(step)).filter(|tier| tier.name == name);
        let tier = called.or_else(|| self.tiers.iter().find(|tier| tier.name == name))?;
        tier.webhook.as_ref()
    }

    /// `None` for what waits in a queue without a clock.
    pub fn acknowledge_within(&self, severity: Severity) -> Option<Duration> {
        let seconds = match severity {
            Severity::Low => return None,
            Severity::Moderate => self.acknowledge_within.moderate,
            Severity::High => self.acknowledge_within.high,
            Severity::Imminent => self.acknowledge_within.imminent,
        };
        Some(Duration::seconds(seconds.into()))
    }

    /// The clock that an event of an alert starts, if it starts one.
    pub fn clock(&self, event: &RecordedEvent) -> Option<Timer> {
        let alert_id = event.field("alertId")?;
        let severity = Severity::of(event.field("severity").unwrap_or_default());
        let number = |name| event.data.get(name).and_then(serde_json::Value::as_u64);
        let (due, what) = match event.event_type.as_str() {
            "crisis.alert" => self.first_step(severity, 0)?,
            "crisis.severity_raised" if event.field("acknowledgedBy").is_none() => {
                self.first_step(severity, number("step").unwrap_or(0))?
            }
            "crisis.escalated" => {
                let step = number("step").unwrap_or(1).saturating_add(1);
                (self.acknowledge_within(severity)?, Due::Escalation { step })
            }
            // It has waited long enough: the next tier is called at once.
            "crisis.reopened" => {
                self.acknowledge_within(severity)?;
                let step = match number("step") {
                    // Somebody was quicker than the first tier, which is called all the same.
                    Some(0) if !self.tier(1).is_called_by_the_alert() => 1,
                    called => called.unwrap_or(1).max(1).saturating_add(1),
                };
                (Duration::ZERO, Due::Escalation { step })
            }
            "crisis.acknowledged" | "crisis.assigned" => {
                let round = number("round").unwrap_or(1);
                (Duration::seconds(self.resolve_within.into()), Due::Reopening { round })
            }
            _ => return None,
        };
        Some(Timer {
            id: event.id.clone(),
            alert_id: alert_id.to_owned(),
            due: event.stored_at + due,
            what,
        })
    }

    /// The step after an alert was raised, or became worse.
    fn first_step(&self, severity: Severity, step: u64) -> Option<(Duration, Due)> {
        let within = self.acknowledge_within(severity)?;
        if step == 0 && !self.tier(1).is_called_by_the_alert() {
            return Some((Duration::ZERO, Due::Escalation { step: 1 }));
        }
        Some((within, Due::Escalation { step: step.max(1).saturating_add(1) }))
    }
}

/// What is to happen when a clock has run out and nobody has done what it waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    Escalation { step: u64 },
    Reopening { round: u64 },
}

/// The chains in force; a tenant's own wins over the one for all, and that over the built-in one.
#[derive(Clone, Debug, Default)]
pub struct Chains {
    everybody: Chain,
    of_tenant: HashMap<Tenant, Chain>,
}

impl Chains {
    /// Reads the file's text; everything that is wrong with it is told at once.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        file::parse(text)
    }

    pub fn of(&self, tenant: &Tenant) -> &Chain {
        self.of_tenant.get(tenant).unwrap_or(&self.everybody)
    }
}

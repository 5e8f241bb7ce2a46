//! An alert that somebody may be in danger: raised, acknowledged, assigned, resolved, and escalated until a human answers.
//!
//! One entity is one conversation, or one user where there is none, with at most one alert open. Nothing closes by
//! itself: only a human's `crisis.resolve` ends it. Clocks are not known here; one that has run out comes as a command of
//! the platform's own, and is refused when what it waited for has happened meanwhile.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::rules::{required, text, unknown_kind};
use crate::aggregate::{Aggregate, Decision, Draft, RecordedEvent, Rejection, fields};
use crate::channel::Channel;
use crate::command::{Actor, Command};
use crate::escalation::Severity;
use crate::identity::Role;

#[cfg(test)]
mod model;
mod rules;
#[cfg(test)]
mod tests;

/// Who decides for the platform itself when a clock has run out.
pub const CLOCK: &str = "escalation";
pub const ESCALATE: &str = "crisis.escalate";
pub const REOPEN: &str = "crisis.reopen";
/// The most channels of one event besides the admins'; an event that has too many would reach nobody.
const MAX_CALLED: usize = 240;

#[derive(Debug)]
pub struct Crisis;

#[derive(Clone, PartialEq, Debug, Default)]
pub struct State {
    /// How many alerts there have been; their ids end in 1 to this.
    raised: u64,
    /// The last one, open or not.
    alert: Option<Alert>,
}

#[derive(Clone, PartialEq, Debug, Default)]
pub struct Alert {
    pub id: String,
    pub user: String,
    pub conversation: Option<String>,
    /// As it was reported; [`Severity::of`] says how it counts.
    pub severity: String,
    /// The last step that was called; the alert itself, which is none, leaves it at 0.
    pub step: u64,
    /// Which opening this is: 1 with the alert, one more with each reopening.
    pub round: u64,
    pub acknowledged_by: Option<String>,
    pub owner: Option<String>,
    pub resolved_by: Option<String>,
    /// Who was called besides the admins, and may therefore answer.
    called: BTreeSet<String>,
    agents_called: bool,
}

impl State {
    /// The alert that waits for somebody to resolve it.
    pub fn open(&self) -> Option<&Alert> {
        self.alert.as_ref().filter(|alert| alert.resolved_by.is_none())
    }
}

impl Alert {
    /// Whether it waits for a human to acknowledge it.
    pub fn waits(&self) -> bool {
        self.resolved_by.is_none() && self.acknowledged_by.is_none()
    }

    fn may_answer(&self, actor: &Actor) -> bool {
        match actor.role {
            Role::Admin => true,
            Role::Agent if self.agents_called => true,
            // Whose it was made may also say what became of it.
            Role::Agent | Role::User => {
                self.called.contains(&actor.user) || self.owner.as_ref() == Some(&actor.user)
            }
            Role::Guest | Role::Service => false,
        }
    }

    /// An event of this alert, with what all of them say.
    fn draft<const N: usize>(
        &self,
        event_type: &'static str,
        data: [(&'static str, Value); N],
    ) -> Draft {
        let mut draft =
            Draft::new(event_type, [("alertId", text(&self.id)), ("userId", text(&self.user))])
                .with("conversationId", self.conversation.as_deref());
        draft.data.extend(fields(data));
        let people = self.called.iter().chain(&self.owner);
        draft.channels = people.filter_map(|user| user_channel(user)).take(MAX_CALLED).collect();
        if self.agents_called {
            draft.channels.extend(Channel::parse("team").ok());
        }
        draft
    }

    fn severity(&self) -> Severity {
        Severity::of(&self.severity)
    }
}

fn user_channel(user: &str) -> Option<Channel> {
    Channel::with_id("user", user).ok()
}

impl Aggregate for Crisis {
    const CATEGORY: &'static str = "crisis";
    type State = State;

    fn evolve(state: &mut State, event: &RecordedEvent) {
        let word = |name| event.field(name).map(str::to_owned);
        if event.event_type == "crisis.alert" {
            state.raised += 1;
            state.alert = Some(Alert {
                id: word("alertId").unwrap_or_default(),
                user: word("userId").unwrap_or_default(),
                conversation: word("conversationId"),
                severity: word("severity").unwrap_or_default(),
                round: 1,
                ..Alert::default()
            });
            return;
        }
        let about = event.field("alertId");
        let Some(alert) = state.alert.as_mut().filter(|alert| about == Some(&*alert.id)) else {
            return;
        };
        match event.event_type.as_str() {
            "crisis.severity_raised" => alert.severity = word("severity").unwrap_or_default(),
            "crisis.acknowledged" => alert.acknowledged_by = word("acknowledgedBy"),
            "crisis.assigned" => {
                alert.owner = word("assignedTo");
                if alert.acknowledged_by.is_none() {
                    alert.acknowledged_by = word("assignedBy").or_else(|| word("assignedTo"));
                }
            }
            "crisis.resolved" => alert.resolved_by = word("resolvedBy"),
            "crisis.escalated" => alert.call(event),
            "crisis.reopened" => {
                alert.round += 1;
                (alert.acknowledged_by, alert.owner) = (None, None);
            }
            _ => {}
        }
    }

    fn decide(
        state: &State,
        command: &Command,
        _now: OffsetDateTime,
    ) -> Result<Decision, Rejection> {
        match command.kind.as_str() {
            "crisis.raise" => raise(state, command),
            "crisis.acknowledge" => {
                let alert = rules::answerable(state, command)?;
                rules::acknowledge(alert, &command.actor)
            }
            "crisis.assign" => rules::assign(rules::answerable(state, command)?, command),
            "crisis.reassign" => rules::reassign(rules::answerable(state, command)?, command),
            "crisis.resolve" => rules::resolve(rules::answerable(state, command)?, command),
            ESCALATE => rules::escalate(rules::clocked(state, command)?, command),
            REOPEN => rules::reopen(rules::clocked(state, command)?, command),
            _ => Err(unknown_kind(command)),
        }
    }
}

impl Alert {
    fn call(&mut self, event: &RecordedEvent) {
        self.step = number(&event.data, "step").unwrap_or(self.step + 1);
        let users = event.data.get("users").and_then(Value::as_array);
        let users = users.into_iter().flatten().filter_map(Value::as_str);
        self.called.extend(users.map(str::to_owned));
        self.agents_called |= event.field("role") == Some(Role::Agent.name());
    }
}

/// One open alert per entity: what is found while one is open can only make it worse. Who may raise one is the edge's
/// to say: roles, and what a token allows.
fn raise(state: &State, command: &Command) -> Result<Decision, Rejection> {
    let severity = required(command, "severity")?;
    let signals = command.data.get("signals").cloned().unwrap_or_else(|| Value::Array(Vec::new()));
    let Some(open) = state.open() else {
        let id = format!("{}-{}", command.entity, state.raised + 1);
        let draft = Draft::new(
            "crisis.alert",
            [
                ("alertId", id.into()),
                ("userId", text(required(command, "userId")?)),
                ("severity", text(severity)),
                ("signals", signals),
            ],
        )
        .with("conversationId", command.field("conversationId"))
        .with("raisedBy", Some(command.field("raisedBy").unwrap_or(&command.actor.user)));
        return Ok(Decision::Recorded(draft));
    };
    if Severity::of(severity) <= open.severity() {
        let told = [("alertId", text(&open.id)), ("severity", text(&open.severity))];
        return Ok(Decision::Unchanged(fields(told)));
    }
    let draft = open
        .draft(
            "crisis.severity_raised",
            [
                ("severity", text(severity)),
                ("previous", text(&open.severity)),
                ("signals", signals),
                ("step", open.step.into()),
            ],
        )
        .with("acknowledgedBy", open.acknowledged_by.as_deref())
        .with("assignedTo", open.owner.as_deref());
    Ok(Decision::Recorded(draft))
}

fn number(data: &Map<String, Value>, name: &str) -> Option<u64> {
    data.get(name).and_then(Value::as_u64)
}

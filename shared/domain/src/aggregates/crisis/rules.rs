//! What may become of an open alert, and who may say so.

use serde_json::Value;

use super::{Alert, CLOCK, MAX_CALLED, State, number, user_channel};
use crate::aggregate::{Decision, Rejection, fields};
use crate::aggregates::rules::{required, text};
use crate::channel::Channel;
use crate::command::{Actor, Command};
use crate::identity::Role;

/// The alert that a person's command is about, if that person may answer it.
pub(super) fn answerable<'a>(state: &'a State, command: &Command) -> Result<&'a Alert, Rejection> {
    // Who may not answer is not told either whether there is such an alert.
    let is_admin = command.actor.role == Role::Admin;
    let alert = named(state, command).map_err(|no| if is_admin { no } else { forbidden() })?;
    if alert.may_answer(&command.actor) { Ok(alert) } else { Err(forbidden()) }
}

/// The alert that a clock was started for.
pub(super) fn clocked<'a>(state: &'a State, command: &Command) -> Result<&'a Alert, Rejection> {
    if command.actor.role != Role::Service || command.actor.user != CLOCK {
        return Err(forbidden());
    }
    let alert = named(state, command)?;
    if alert.resolved_by.is_some() { Err(resolved(alert)) } else { Ok(alert) }
}

/// The entity's last alert by its id; one before it can only be resolved already.
fn named<'a>(state: &'a State, command: &Command) -> Result<&'a Alert, Rejection> {
    let unknown = || Rejection::new("unknown_alert", "There is no such alert.").unrecorded();
    let id = required(command, "alertId")?;
    let alert = state.alert.as_ref().ok_or_else(unknown)?;
    if alert.id == id {
        return Ok(alert);
    }
    let earlier = id.strip_prefix(&command.entity).and_then(|rest| rest.strip_prefix('-'));
    let earlier = earlier.and_then(|number| number.parse::<u64>().ok());
    if earlier.is_some_and(|number| (1..state.raised).contains(&number)) {
        return Err(Rejection::new("already_resolved", "The alert is resolved."));
    }
    Err(unknown())
}

pub(super) fn forbidden() -> Rejection {
    let told = "Only administrators, who was called and whose it is may answer an alert.";
    Rejection::new("forbidden", told).unrecorded()
}

fn resolved(alert: &Alert) -> Rejection {
    let rejection = Rejection::new("already_resolved", "The alert is resolved.");
    match &alert.resolved_by {
        Some(by) => rejection.with("resolvedBy", by.as_str()),
        None => rejection,
    }
}

/// Acknowledging twice does no harm; the second is told who was first.
pub(super) fn acknowledge(alert: &Alert, actor: &Actor) -> Result<Decision, Rejection> {
    if alert.resolved_by.is_some() {
        return Err(resolved(alert));
    }
    if let Some(by) = &alert.acknowledged_by {
        let told = [("alertId", text(&alert.id)), ("acknowledgedBy", text(by))];
        return Ok(Decision::Unchanged(fields(told)));
    }
    let data = [("acknowledgedBy", text(&actor.user)), ("round", alert.round.into())];
    Ok(Decision::Recorded(alert.draft("crisis.acknowledged", data)))
}

/// The first who takes it has it.
pub(super) fn assign(alert: &Alert, command: &Command) -> Result<Decision, Rejection> {
    let to = command.field("assignedTo").unwrap_or(&command.actor.user);
    if alert.resolved_by.is_some() {
        return Err(resolved(alert));
    }
    match alert.owner.as_deref() {
        Some(owner) if owner == to => Ok(owned(alert, owner)),
        Some(owner) => Err(Rejection::new("already_assigned", "Somebody else has the alert.")
            .with("alertId", alert.id.as_str())
            .with("assignedTo", owner)),
        None => hand_over(alert, &command.actor, to),
    }
}

/// From whoever has it to somebody else.
pub(super) fn reassign(alert: &Alert, command: &Command) -> Result<Decision, Rejection> {
    let to = required(command, "assignedTo")?;
    if alert.resolved_by.is_some() {
        return Err(resolved(alert));
    }
    match alert.owner.as_deref() {
        Some(owner) if owner == to => Ok(owned(alert, owner)),
        _ => hand_over(alert, &command.actor, to),
    }
}

fn owned(alert: &Alert, owner: &str) -> Decision {
    Decision::Unchanged(fields([("alertId", text(&alert.id)), ("assignedTo", text(owner))]))
}

/// Who was called takes it themselves or gives away what is theirs; the rest is for administrators.
fn hand_over(alert: &Alert, actor: &Actor, to: &str) -> Result<Decision, Rejection> {
    let is_own = match alert.owner.as_deref() {
        Some(owner) => owner == actor.user,
        None => to == actor.user,
    };
    if actor.role != Role::Admin && !is_own {
        return Err(forbidden());
    }
    let data = [
        ("assignedTo", text(to)),
        ("assignedBy", text(&actor.user)),
        ("round", alert.round.into()),
    ];
    let mut draft = alert.draft("crisis.assigned", data);
    draft = draft.with("previous", alert.owner.as_deref());
    draft.channels.extend(user_channel(to));
    Ok(Decision::Recorded(draft))
}

/// The only end of an alert.
pub(super) fn resolve(alert: &Alert, command: &Command) -> Result<Decision, Rejection> {
    let by = &command.actor.user;
    match &alert.resolved_by {
        Some(first) if first == by => {
            let told = [("alertId", text(&alert.id)), ("resolvedBy", text(by))];
            return Ok(Decision::Unchanged(fields(told)));
        }
        Some(_) => return Err(resolved(alert)),
        None => {}
    }
    let draft = alert.draft("crisis.resolved", [("resolvedBy", text(by))]);
    Ok(Decision::Recorded(draft.with("notes", command.field("notes"))))
}

/// A deadline has passed: the step is called, unless somebody answered or it was called already.
pub(super) fn escalate(alert: &Alert, command: &Command) -> Result<Decision, Rejection> {
    let step = number(&command.data, "step").unwrap_or_default();
    if !alert.waits() || step <= alert.step {
        return Err(Rejection::new("not_due", "What the clock waited for has happened."));
    }
    let data = [
        ("severity", text(&alert.severity)),
        ("tier", text(required(command, "tier")?)),
        ("step", step.into()),
        ("round", alert.round.into()),
    ];
    let mut draft = alert.draft("crisis.escalated", data);
    for name in ["users", "role", "pageId"] {
        draft = draft.with(name, command.data.get(name).cloned());
    }
    // Who is called now comes first, should there be too many.
    let users = command.data.get("users").and_then(Value::as_array).into_iter().flatten();
    let mut channels: Vec<_> = users.filter_map(|user| user_channel(user.as_str()?)).collect();
    if command.field("role") == Some(Role::Agent.name()) {
        channels.extend(Channel::parse("team").ok());
    }
    channels.append(&mut draft.channels);
    channels.truncate(MAX_CALLED);
    draft.channels = channels;
    Ok(Decision::Recorded(draft))
}

/// Acknowledged, and not resolved in time: it is nobody's again, and who is called next hears of it.
pub(super) fn reopen(alert: &Alert, command: &Command) -> Result<Decision, Rejection> {
    if alert.acknowledged_by.is_none() || number(&command.data, "round") != Some(alert.round) {
        return Err(Rejection::new("not_due", "What the clock waited for has happened."));
    }
    let data = [
        ("severity", text(&alert.severity)),
        ("step", alert.step.into()),
        ("round", (alert.round + 1).into()),
    ];
    let draft = alert.draft("crisis.reopened", data);
    let draft = draft.with("acknowledgedBy", alert.acknowledged_by.as_deref());
    Ok(Decision::Recorded(draft.with("assignedTo", alert.owner.as_deref())))
}

//! A notification: read once by each person it was for. All of one person's are read on an entity of that person's.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use super::rules::{text, unknown_kind};
use crate::aggregate::{Aggregate, Decision, Draft, RecordedEvent, Rejection, fields};
use crate::channel::Channel;
use crate::command::Command;

#[derive(Debug)]
pub struct Notification;

#[derive(Clone, PartialEq, Debug, Default)]
pub struct State {
    /// The channels of the people it was for.
    recipients: BTreeSet<String>,
    readers: BTreeSet<String>,
}

impl Aggregate for Notification {
    const CATEGORY: &'static str = "notification";
    type State = State;

    fn evolve(state: &mut State, event: &RecordedEvent) {
        match event.event_type.as_str() {
            "notification.new" | "notification.message" => {
                let people = event.channels.iter().filter(|channel| channel.kind() == "user");
                state.recipients.extend(people.map(|channel| channel.as_str().to_owned()));
            }
            "notification.read" => {
                state.readers.extend(event.field("userId").map(str::to_owned));
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
            "notification.read" => read(state, command),
            "notification.read_all" => read_all(command),
            _ => Err(unknown_kind(command)),
        }
    }
}

fn read(state: &State, command: &Command) -> Result<Decision, Rejection> {
    let user = &command.actor.user;
    let theirs = Channel::with_id("user", user)
        .is_ok_and(|channel| state.recipients.contains(channel.as_str()));
    if !theirs {
        let message = "There is no such notification for you.";
        return Err(Rejection::new("unknown_notification", message));
    }
    let answer = [("notificationId", text(&command.entity)), ("userId", text(user))];
    Ok(if state.readers.contains(user) {
        Decision::Unchanged(fields(answer))
    } else {
        Decision::Recorded(Draft::new("notification.read", answer))
    })
}

fn read_all(command: &Command) -> Result<Decision, Rejection> {
    let user = &command.actor.user;
    if command.entity != *user {
        return Err(Rejection::new("forbidden", "Everybody reads their own notifications."));
    }
    Ok(Decision::Recorded(Draft::new("notification.all_read", [("userId", text(user))])))
}

#[cfg(test)]
mod tests;

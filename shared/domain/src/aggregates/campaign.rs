//! A campaign that a backend sends: paused while it runs, resumed while it is paused.
//!
//! What the backend reports are facts in any order; a campaign that was seen over stays so.

use time::OffsetDateTime;

use super::rules::{staff, text, unknown_kind};
use crate::aggregate::{Aggregate, Decision, Draft, RecordedEvent, Rejection, fields};
use crate::command::Command;

#[derive(Debug)]
pub struct Campaign;

#[derive(Clone, PartialEq, Debug, Default)]
pub struct State {
    known: bool,
    over: bool,
    paused_by: Option<String>,
}

impl Aggregate for Campaign {
    const CATEGORY: &'static str = "campaign";
    type State = State;

    fn evolve(state: &mut State, event: &RecordedEvent) {
        match event.event_type.as_str() {
            "campaign.started" | "campaign.progress" => state.known = true,
            "campaign.completed" | "campaign.failed" => (state.known, state.over) = (true, true),
            "campaign.paused" => {
                state.paused_by = Some(event.field("pausedBy").unwrap_or_default().to_owned());
            }
            "campaign.resumed" => state.paused_by = None,
            _ => {}
        }
    }

    fn decide(
        state: &State,
        command: &Command,
        _now: OffsetDateTime,
    ) -> Result<Decision, Rejection> {
        staff(&command.actor)?;
        if !state.known {
            return Err(Rejection::new("unknown_campaign", "There is no such campaign."));
        }
        if state.over {
            return Err(Rejection::new("campaign_over", "The campaign is over."));
        }
        let draft = |event_type, by| {
            let by = (by, text(&command.actor.user));
            Ok(Decision::Recorded(Draft::new(
                event_type,
                [("campaignId", text(&command.entity)), by],
            )))
        };
        match (command.kind.as_str(), &state.paused_by) {
            ("campaign.pause", None) => draft("campaign.paused", "pausedBy"),
            ("campaign.pause", Some(by)) if *by == command.actor.user => {
                let answer = [("campaignId", text(&command.entity)), ("pausedBy", text(by))];
                Ok(Decision::Unchanged(fields(answer)))
            }
            ("campaign.pause", Some(by)) => {
                let rejection = Rejection::new("already_paused", "The campaign is paused already.");
                Err(rejection.with("pausedBy", by.as_str()))
            }
            ("campaign.resume", Some(_)) => draft("campaign.resumed", "resumedBy"),
            ("campaign.resume", None) => {
                Err(Rejection::new("not_paused", "The campaign is not paused."))
            }
            _ => Err(unknown_kind(command)),
        }
    }
}

#[cfg(test)]
mod tests;

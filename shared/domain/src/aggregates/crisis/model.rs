//! Every short history of one alert: commands of people and clocks that run out in any order, late, and again.
//!
//! A clock that an event has started stays startable (the event may be delivered again after a crash) and may run out
//! at any moment afterwards, any number of times; so what holds here holds whatever is killed.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;
use serde_json::json;

use super::tests::{Desk, admin, clock, raise_of};
use super::*;
use crate::escalation::{Chain, Chains, Due, Timer};
use crate::token::Tenant;

const DEPTH: usize = 6;

fn chain() -> Chain {
    let text = "[[chain]]\ntenant = '*'\n[[chain.tier]]\nname = 'on-call'\nrole = 'admin'\n\
                [[chain.tier]]\nname = 'manager'\nusers = ['1']";
    Chains::parse(text).unwrap().of(&Tenant::parse("acme").unwrap()).clone()
}

/// Whatever has been started and may run out.
fn clocks(desk: &Desk) -> BTreeMap<String, Timer> {
    let chain = chain();
    desk.events.iter().filter_map(|event| chain.clock(event)).map(|t| (t.id.clone(), t)).collect()
}

fn run_out(timer: &Timer) -> Command {
    let mut command = match timer.what {
        Due::Escalation { step } => clock(ESCALATE, "step", step),
        Due::Reopening { round } => clock(REOPEN, "round", round),
    };
    command.data.insert("alertId".to_owned(), timer.alert_id.as_str().into());
    command
}

fn commands(desk: &Desk) -> Vec<Command> {
    let id = desk.alert().id.clone();
    let about = |to: Option<&str>| match to {
        Some(to) => json!({ "alertId": id, "assignedTo": to }),
        None => json!({ "alertId": id }),
    };
    let mut all = vec![
        raise_of("low"),
        raise_of("high"),
        raise_of("imminent"),
        admin("1", "crisis.acknowledge", about(None)),
        admin("1", "crisis.assign", about(None)),
        admin("2", "crisis.assign", about(None)),
        admin("1", "crisis.reassign", about(Some("2"))),
        admin("2", "crisis.resolve", about(None)),
    ];
    all.extend(clocks(desk).values().map(run_out));
    all
}

/// What must hold at every moment.
fn check(before: &Desk, command: &Command, after: &Desk) {
    let alert = after.alert();
    let would_act = |kind: &str| {
        clocks(after).values().map(run_out).any(|c| c.kind == kind && after.decide(&c).is_ok())
    };
    let story = || after.events.iter().map(|e| &*e.event_type).collect::<Vec<_>>().join(" ");
    if alert.waits() && Severity::of(&alert.severity) != Severity::Low {
        assert!(would_act(ESCALATE), "nobody would be called: {}", story());
    }
    if alert.resolved_by.is_none() && alert.acknowledged_by.is_some() {
        assert!(would_act(REOPEN), "it would be forgotten: {}", story());
    }
    assert!(alert.owner.is_none() || alert.acknowledged_by.is_some(), "{}", story());
    let earlier = before.alert();
    if earlier.id != alert.id {
        assert!(earlier.resolved_by.is_some(), "a second alert was opened: {}", story());
    } else if let (Some(was), owner) = (&earlier.owner, &alert.owner)
        && Some(was) != owner.as_ref()
    {
        let may = ["crisis.reassign", REOPEN].contains(&command.kind.as_str());
        assert!(may, "{} took it from its owner: {}", command.kind, story());
    }
    if earlier.resolved_by.is_none() && after.state.open().is_none() {
        assert_eq!((&*command.kind, command.actor.role), ("crisis.resolve", Role::Admin));
    }
}

/// All that what follows depends on.
fn digest(desk: &Desk) -> String {
    let clocks: Vec<_> = clocks(desk).into_values().map(|t| (t.alert_id, t.what)).collect();
    let clocks: std::collections::BTreeSet<String> =
        clocks.into_iter().map(|clock| format!("{clock:?}")).collect();
    format!("{:?} {clocks:?}", desk.state)
}

#[test]
fn in_every_short_history_somebody_is_called_until_somebody_answers_and_one_has_it() {
    let mut seen = HashSet::new();
    let mut now: Vec<Desk> = ["low", "high", "imminent"].map(Desk::alerted).into();
    for _ in 0..DEPTH {
        let mut next = Vec::new();
        for desk in &now {
            for command in commands(desk) {
                let mut after = desk.clone();
                if after.send(&command).is_ok() {
                    check(desk, &command, &after);
                    if seen.insert(digest(&after)) {
                        next.push(after);
                    }
                }
            }
        }
        now = next;
    }
    assert!(seen.len() > 1_000, "only {} states were seen", seen.len());
}

proptest! {
    #[test]
    fn in_long_histories_too(
        severity in prop::sample::select(vec!["low", "moderate", "high", "imminent", "?"]),
        choices in prop::collection::vec(any::<prop::sample::Index>(), 1..60),
    ) {
        let mut desk = Desk::alerted(severity);
        for choice in choices {
            let command = choice.get(&commands(&desk)).clone();
            let before = desk.clone();
            if desk.send(&command).is_ok() {
                check(&before, &command, &desk);
            }
        }
        // The same events give the same state, and an event of something else changes nothing.
        let mut again = State::default();
        for event in &desk.events {
            Crisis::evolve(&mut again, event);
        }
        prop_assert_eq!(&again, &desk.state);
        let mut foreign = desk.events.last().unwrap().clone();
        foreign.event_type = "crisis.resolved".to_owned();
        foreign.data.insert("alertId".to_owned(), "another-1".into());
        Crisis::evolve(&mut again, &foreign);
        prop_assert_eq!(&again, &desk.state);
    }
}

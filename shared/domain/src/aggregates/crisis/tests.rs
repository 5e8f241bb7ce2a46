use serde_json::json;

use super::*;
use crate::token::Tenant;

/// An entity and what is stored of it.
#[derive(Clone, Default)]
pub(super) struct Desk {
    pub(super) state: State,
    pub(super) events: Vec<RecordedEvent>,
}

impl Desk {
    /// With an alert of this severity.
    pub(super) fn alerted(severity: &str) -> Self {
        let mut desk = Self::default();
        desk.send(&raise_of(severity)).unwrap();
        desk
    }

    pub(super) fn decide(&self, command: &Command) -> Result<Decision, Rejection> {
        Crisis::decide(&self.state, command, OffsetDateTime::UNIX_EPOCH)
    }

    pub(super) fn send(&mut self, command: &Command) -> Result<Decision, Rejection> {
        let decision = self.decide(command)?;
        if let Decision::Recorded(draft) = &decision {
            self.record(draft);
        }
        Ok(decision)
    }

    fn record(&mut self, draft: &Draft) {
        let sequence = self.events.len() as u64 + 1;
        let event = RecordedEvent {
            sequence,
            stored_at: OffsetDateTime::UNIX_EPOCH,
            id: format!("e{sequence}"),
            event_type: draft.event_type.to_owned(),
            causation_id: None,
            channels: draft.channels.clone(),
            data: draft.data.clone(),
        };
        Crisis::evolve(&mut self.state, &event);
        self.events.push(event);
    }

    pub(super) fn alert(&self) -> &Alert {
        self.state.alert.as_ref().unwrap()
    }

    fn last(&self) -> &RecordedEvent {
        self.events.last().unwrap()
    }
}

pub(super) fn command(user: &str, role: Role, kind: &str, data: Value) -> Command {
    Command {
        id: "k".into(),
        kind: kind.into(),
        tenant: Tenant::parse("acme").unwrap(),
        entity: "c-9".into(),
        actor: Actor { user: user.into(), role },
        connection: None,
        reply: None,
        time: OffsetDateTime::UNIX_EPOCH,
        data: data.as_object().unwrap().clone(),
    }
}

pub(super) fn raise_of(severity: &str) -> Command {
    let data =
        json!({ "userId": "7", "conversationId": "c-9", "severity": severity, "signals": ["x"] });
    command("screen", Role::Service, "crisis.raise", data)
}

pub(super) fn admin(user: &str, kind: &str, data: Value) -> Command {
    command(user, Role::Admin, kind, data)
}

fn about(alert: &str) -> Value {
    json!({ "alertId": alert })
}

pub(super) fn clock(kind: &str, name: &str, number: u64) -> Command {
    let data = json!({ "alertId": "c-9-1", "tier": "on-call", name: number });
    command(CLOCK, Role::Service, kind, data)
}

#[track_caller]
fn refused(outcome: Result<Decision, Rejection>) -> Rejection {
    outcome.expect_err("it is refused")
}

#[test]
fn an_open_alert_is_not_raised_twice_but_becomes_worse() {
    let mut desk = Desk::alerted("moderate");
    assert_eq!(desk.last().data["alertId"], "c-9-1");
    for same in ["moderate", "low", " Moderate "] {
        let told = desk.send(&raise_of(same)).unwrap();
        assert!(matches!(&told, Decision::Unchanged(told) if told["alertId"] == "c-9-1"), "{same}");
    }
    desk.send(&raise_of("a word that nobody knows")).unwrap();
    assert_eq!(desk.last().event_type, "crisis.severity_raised");
    assert_eq!(desk.last().data["previous"], "moderate");
    assert!(
        matches!(desk.send(&raise_of("imminent")), Ok(Decision::Unchanged(_))),
        "it counts as imminent"
    );
    assert_eq!(desk.events.len(), 2);
}

#[test]
fn after_a_resolution_the_next_alert_has_the_next_number() {
    let mut desk = Desk::alerted("high");
    desk.send(&admin("1", "crisis.resolve", json!({ "alertId": "c-9-1", "notes": "Spoken to." })))
        .unwrap();
    assert_eq!(desk.last().data["notes"], "Spoken to.");
    assert!(desk.state.open().is_none());
    desk.send(&raise_of("high")).unwrap();
    assert_eq!(desk.alert().id, "c-9-2");
    let late = refused(desk.send(&admin("2", "crisis.acknowledge", about("c-9-1"))));
    assert_eq!(late.code, "already_resolved");
    for unknown in ["c-9-3", "c-9-0", "c-9-x", "c-8-1"] {
        assert_eq!(
            refused(desk.send(&admin("2", "crisis.assign", about(unknown)))).code,
            "unknown_alert"
        );
    }
}

#[test]
fn of_two_who_take_it_one_has_it_and_the_other_is_told_who() {
    let mut desk = Desk::alerted("high");
    desk.send(&admin("1", "crisis.assign", about("c-9-1"))).unwrap();
    assert_eq!(desk.alert().acknowledged_by.as_deref(), Some("1"), "assigning acknowledges");
    let loser = refused(desk.send(&admin("2", "crisis.assign", about("c-9-1"))));
    assert_eq!((loser.code, &loser.fields["assignedTo"]), ("already_assigned", &json!("1")));
    assert!(matches!(
        desk.send(&admin("1", "crisis.assign", about("c-9-1"))),
        Ok(Decision::Unchanged(_))
    ));
    desk.send(&admin("2", "crisis.reassign", json!({ "alertId": "c-9-1", "assignedTo": "3" })))
        .unwrap();
    assert_eq!(
        (desk.last().field("assignedTo"), desk.last().field("previous")),
        (Some("3"), Some("1"))
    );
    assert_eq!(desk.alert().owner.as_deref(), Some("3"));
}

#[test]
fn only_administrators_and_who_was_called_may_answer() {
    let mut desk = Desk::alerted("high");
    let users = json!({ "alertId": "c-9-1", "tier": "manager", "step": 2, "users": ["8"] });
    let answers = |role, user: &str| command(user, role, "crisis.acknowledge", about("c-9-1"));
    for role in [Role::User, Role::Agent, Role::Service, Role::Guest] {
        assert_eq!(refused(desk.decide(&answers(role, "8"))).code, "forbidden");
    }
    desk.send(&command(CLOCK, Role::Service, ESCALATE, users)).unwrap();
    assert!(desk.last().channels.contains(&Channel::parse("user:8").unwrap()));
    assert_eq!(refused(desk.decide(&answers(Role::User, "9"))).code, "forbidden");
    let give = json!({ "alertId": "c-9-1", "assignedTo": "9" });
    assert_eq!(
        refused(desk.decide(&command("8", Role::User, "crisis.assign", give))).code,
        "forbidden"
    );
    desk.send(&answers(Role::User, "8")).unwrap();
    assert_eq!(desk.alert().acknowledged_by.as_deref(), Some("8"));
}

#[test]
fn whose_an_alert_was_made_may_resolve_it_and_nobody_else_without_a_call() {
    for role in [Role::Agent, Role::User] {
        let mut desk = Desk::alerted("high");
        let give = json!({ "alertId": "c-9-1", "assignedTo": "8" });
        desk.send(&admin("1", "crisis.assign", give)).unwrap();
        let resolve = |user: &str| command(user, role, "crisis.resolve", about("c-9-1"));
        let no = refused(desk.decide(&resolve("9")));
        assert_eq!((no.code, no.is_recorded), ("forbidden", false));
        desk.send(&resolve("8")).unwrap();
        assert_eq!(desk.alert().resolved_by.as_deref(), Some("8"));
    }
    // What is not theirs any more is not theirs to resolve.
    let mut desk = Desk::alerted("high");
    let give = |to: &str| json!({ "alertId": "c-9-1", "assignedTo": to });
    desk.send(&admin("1", "crisis.assign", give("8"))).unwrap();
    desk.send(&admin("1", "crisis.reassign", give("9"))).unwrap();
    let late = command("8", Role::Agent, "crisis.resolve", about("c-9-1"));
    assert_eq!(refused(desk.decide(&late)).code, "forbidden");
}

#[test]
fn agents_may_answer_once_their_tier_was_called() {
    let mut desk = Desk::alerted("high");
    let answer = command("8", Role::Agent, "crisis.assign", about("c-9-1"));
    assert_eq!(refused(desk.decide(&answer)).code, "forbidden");
    let agents = json!({ "alertId": "c-9-1", "tier": "desk", "step": 2, "role": "agent" });
    desk.send(&command(CLOCK, Role::Service, ESCALATE, agents)).unwrap();
    assert!(desk.last().channels.contains(&Channel::parse("team").unwrap()));
    desk.send(&answer).unwrap();
    assert_eq!(desk.alert().owner.as_deref(), Some("8"));
}

#[test]
fn a_clock_that_runs_out_late_or_twice_changes_nothing() {
    let mut desk = Desk::alerted("high");
    desk.send(&clock(ESCALATE, "step", 2)).unwrap();
    for step in [1, 2] {
        assert_eq!(refused(desk.decide(&clock(ESCALATE, "step", step))).code, "not_due");
    }
    assert_eq!(refused(desk.decide(&clock(REOPEN, "round", 1))).code, "not_due", "nobody answered");
    desk.send(&admin("1", "crisis.acknowledge", about("c-9-1"))).unwrap();
    assert_eq!(refused(desk.decide(&clock(ESCALATE, "step", 3))).code, "not_due");
    desk.send(&clock(REOPEN, "round", 1)).unwrap();
    assert_eq!(refused(desk.decide(&clock(REOPEN, "round", 1))).code, "not_due");
    desk.send(&clock(ESCALATE, "step", 3)).unwrap();
    desk.send(&admin("1", "crisis.resolve", about("c-9-1"))).unwrap();
    assert_eq!(refused(desk.decide(&clock(ESCALATE, "step", 4))).code, "already_resolved");
}

#[test]
fn what_is_opened_again_is_nobodys() {
    let mut desk = Desk::alerted("high");
    desk.send(&admin("1", "crisis.assign", about("c-9-1"))).unwrap();
    desk.send(&clock(REOPEN, "round", 1)).unwrap();
    assert_eq!(desk.last().field("assignedTo"), Some("1"), "it says who had it");
    assert!(desk.alert().waits() && desk.alert().owner.is_none());
    desk.send(&admin("2", "crisis.assign", about("c-9-1"))).unwrap();
    assert_eq!(desk.alert().owner.as_deref(), Some("2"));
    assert_eq!(
        refused(desk.decide(&clock(REOPEN, "round", 1))).code,
        "not_due",
        "a clock of before"
    );
}

#[test]
fn nobody_but_the_clock_escalates() {
    let desk = Desk::alerted("high");
    for (user, role) in [("1", Role::Admin), (CLOCK, Role::Admin), ("screen", Role::Service)] {
        let data = json!({ "alertId": "c-9-1", "tier": "x", "step": 2 });
        assert_eq!(refused(desk.decide(&command(user, role, ESCALATE, data))).code, "forbidden");
    }
}

#[test]
fn who_resolves_second_is_told_who_did() {
    let mut desk = Desk::alerted("low");
    desk.send(&admin("1", "crisis.resolve", about("c-9-1"))).unwrap();
    let resolve = |user| admin(user, "crisis.resolve", about("c-9-1"));
    assert_eq!(refused(desk.decide(&resolve("2"))).fields["resolvedBy"], "1");
    assert!(matches!(desk.decide(&resolve("1")), Ok(Decision::Unchanged(_))));
}

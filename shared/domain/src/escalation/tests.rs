use proptest::prelude::*;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::*;

const FILE: &str = r#"
[[chain]]
tenant = "*"
acknowledge_within = { imminent = 60, high = 300, moderate = 1800 }
resolve_within = 900
[[chain.tier]]
name = "on-call"
role = "admin"
[[chain.tier]]
name = "duty-manager"
users = ["1"]
webhook = { url = "https://pager.example.com/hook", secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" }
[[chain]]
tenant = "acme"
acknowledge_within = { imminent = 5 }
[[chain.tier]]
name = "pager"
users = ["7", "9"]
"#;

fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000 + seconds).unwrap()
}

fn event(event_type: &str, mut data: Value) -> RecordedEvent {
    data["alertId"] = "c-9-1".into();
    RecordedEvent {
        sequence: 1,
        stored_at: at(0),
        id: "e-1".into(),
        event_type: event_type.into(),
        causation_id: None,
        channels: Vec::new(),
        data: data.as_object().unwrap().clone(),
    }
}

fn chain(tenant: &str) -> Chain {
    Chains::parse(FILE).unwrap().of(&Tenant::parse(tenant).unwrap()).clone()
}

#[track_caller]
fn starts(chain: &Chain, event_type: &str, data: Value, expected: Option<(i64, Due)>) {
    let told = chain.clock(&event(event_type, data));
    assert_eq!(told.map(|timer| ((timer.due - at(0)).whole_seconds(), timer.what)), expected);
}

#[test]
fn an_alert_starts_the_clock_of_its_severity() {
    let chain = chain("other");
    let second = |after| Some((after, Due::Escalation { step: 2 }));
    for (severity, expected) in [
        ("imminent", second(60)),
        ("high", second(300)),
        ("moderate", second(1800)),
        ("low", None),
        ("unheard of", second(60)),
        ("", second(60)),
    ] {
        starts(&chain, "crisis.alert", json!({ "severity": severity }), expected);
    }
}

#[test]
fn a_first_tier_of_more_than_all_admins_is_called_at_once() {
    let first = Some((0, Due::Escalation { step: 1 }));
    starts(&chain("acme"), "crisis.alert", json!({ "severity": "high" }), first);
    let second = Some((5, Due::Escalation { step: 2 }));
    starts(
        &chain("acme"),
        "crisis.escalated",
        json!({ "severity": "imminent", "step": 1 }),
        second,
    );
    starts(&chain("acme"), "crisis.alert", json!({ "severity": "low" }), None);
}

#[test]
fn every_step_is_followed_by_the_next_and_the_chain_begins_anew() {
    let chain = chain("other");
    let next = |step| Some((60, Due::Escalation { step }));
    starts(&chain, "crisis.escalated", json!({ "severity": "imminent", "step": 2 }), next(3));
    starts(&chain, "crisis.escalated", json!({ "severity": "imminent", "step": 41 }), next(42));
    let names: Vec<_> = (1..=5).map(|step| chain.tier(step).name.clone()).collect();
    assert_eq!(names, ["on-call", "duty-manager", "on-call", "duty-manager", "on-call"]);
}

#[test]
fn who_acknowledged_is_given_time_and_then_the_next_tier_is_called_at_once() {
    let chain = chain("other");
    let reopening = |round| Some((900, Due::Reopening { round }));
    starts(&chain, "crisis.acknowledged", json!({ "round": 1 }), reopening(1));
    starts(&chain, "crisis.assigned", json!({ "round": 3 }), reopening(3));
    let reopened = json!({ "severity": "high", "step": 2, "round": 2 });
    starts(&chain, "crisis.reopened", reopened, Some((0, Due::Escalation { step: 3 })));
    starts(&chain, "crisis.reopened", json!({ "severity": "low", "step": 1 }), None);
    // Answered before any step was called: the alert itself has called a first tier of admins, and no other one.
    let early = json!({ "severity": "high", "step": 0, "round": 2 });
    let by_the_alert = Chain::default();
    let second = Some((0, Due::Escalation { step: 2 }));
    starts(&by_the_alert, "crisis.reopened", early.clone(), second);
    let text = "[[chain]]\ntenant = '*'\n[[chain.tier]]\nname = 'desk'\nrole = 'agent'";
    let desk = Chains::parse(text).unwrap().of(&Tenant::parse("acme").unwrap()).clone();
    starts(&desk, "crisis.reopened", early, Some((0, Due::Escalation { step: 1 })));
    starts(&chain, "crisis.resolved", json!({}), None);
}

#[test]
fn a_worse_severity_starts_its_own_clock_unless_somebody_answers_already() {
    let chain = chain("other");
    let worse = json!({ "severity": "imminent", "step": 2 });
    starts(&chain, "crisis.severity_raised", worse, Some((60, Due::Escalation { step: 3 })));
    let answered = json!({ "severity": "imminent", "step": 2, "acknowledgedBy": "1" });
    starts(&chain, "crisis.severity_raised", answered, None);
}

#[test]
fn without_a_file_the_built_in_chain_calls_the_admins_for_ever() {
    let chain = Chains::default().of(&Tenant::parse("acme").unwrap()).clone();
    let second = Some((60, Due::Escalation { step: 2 }));
    starts(&chain, "crisis.alert", json!({ "severity": "imminent" }), second);
    assert_eq!(chain.tier(7).called, Called::Admins);
    assert_eq!(chain.resolve_within, 900);
}

#[test]
fn what_a_tenant_leaves_out_is_the_built_in_value() {
    let chain = chain("acme");
    assert_eq!(chain.acknowledge_within, Within { imminent: 5, high: 300, moderate: 1800 });
    assert_eq!(chain.tier(1).called, Called::Users(vec!["7".into(), "9".into()]));
}

#[test]
fn every_mistake_of_a_file_is_told_at_once_and_no_secret() {
    let text = r#"
other = 1
[[chain]]
tenant = "a b"
acknowledge_within = { imminent = 0, low = 5, soon = 1 }
resolve_within = "a while"
[[chain]]
tenant = "acme"
[[chain.tier]]
role = "user"
[[chain.tier]]
name = "both"
role = "admin"
users = ["1"]
webhook = { url = "ftp://user:pass@host", secret = "hunter2" }
[[chain]]
tenant = "acme"
tier = [{ name = "x", users = [] }]
"#;
    let told = Chains::parse(text).unwrap_err();
    for expected in [
        "other: is not known",
        "chain \"a b\": tenant: \"a b\" is neither",
        "acknowledge_within: imminent: must be 1 to",
        "acknowledge_within: low: cannot be set",
        "acknowledge_within: soon: is not known",
        "chain \"a b\": resolve_within: must be 1 to",
        "chain \"a b\": tier: is missing",
        "tier number 1: name: is missing",
        "tier number 1: role: \"user\" is neither admin nor agent",
        "tier \"both\": role: give either a role or users",
        "tier \"both\": webhook: url: is not an http or https address",
        "tier \"both\": webhook: secret: is not whsec_",
        "tier \"x\": users: must be 1 to",
        "chain \"acme\": tenant: has a chain already",
    ] {
        assert!(told.iter().any(|line| line.contains(expected)), "{expected} in {told:#?}");
    }
    assert!(
        told.iter().all(|line| !line.contains("hunter2") && !line.contains("pass")),
        "{told:?}"
    );
    let broken = Chains::parse("[[chain]\nsecret = 'hunter2'").unwrap_err();
    assert!(broken[0].starts_with("is not TOML") && !broken[0].contains("hunter2"), "{broken:?}");
}

#[test]
fn a_timer_survives_its_way_through_the_log() {
    let tenant = Tenant::parse("acme").unwrap();
    for what in [Due::Escalation { step: 7 }, Due::Reopening { round: 2 }] {
        let timer = Timer { id: "a.b".into(), alert_id: "c 9-1".into(), due: at(5), what };
        assert_eq!(Timer::parse(&timer.payload()).unwrap(), timer);
        let subject = timer.due_subject(&tenant);
        assert_eq!(crate::subject::tenant_of_timer(&subject).unwrap(), tenant);
        assert_eq!(subject.split('.').count(), 5, "{subject}");
        assert_eq!(timer.entity(), "c 9");
    }
    assert!(Timer::parse(b"{}").is_err());
}

#[test]
fn what_a_timer_brings_about_has_an_id_of_its_own_and_of_one_length() {
    let step = |id: &str, step| Timer {
        id: id.into(),
        alert_id: "c-9-1".into(),
        due: at(0),
        what: Due::Escalation { step },
    };
    let first = step("e-1", 2).event_id();
    assert_eq!(first, step("e-1", 2).event_id());
    let next = step(&first, 3).event_id();
    assert!(first != "e-1" && next != first && next.len() == first.len());
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}") {
        let _either = Chains::parse(&text);
    }

    #[test]
    fn any_data_starts_a_clock_or_none(kind in "crisis\\.(alert|escalated|reopened|assigned|severity_raised)", step: u64, word in ".{0,20}") {
        let data = json!({ "step": step, "severity": word, "round": step });
        let _either = chain("acme").clock(&event(&kind, data));
    }
}

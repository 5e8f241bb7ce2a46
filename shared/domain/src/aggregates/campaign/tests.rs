use proptest::prelude::*;
use serde_json::json;

use super::super::checks::{self, History, Trial, any_order, command, holds};
use super::*;
use crate::identity::Role;

fn asked(kind: &str, user: &str) -> Command {
    command(kind, "spring", (user, Role::Agent), json!({}))
}

fn facts() -> Vec<(&'static str, serde_json::Value)> {
    let progress = json!({ "campaignId": "spring", "progress": { "sent": 1, "total": 2, "percentage": 50, "failed": 0 } });
    let started =
        json!({ "campaignId": "spring", "campaign": { "name": "Spring", "totalRecipients": 2 } });
    vec![
        ("campaign.started", started),
        ("campaign.progress", progress.clone()),
        ("campaign.progress", progress),
        ("campaign.failed", json!({ "campaignId": "spring", "error": "disconnected" })),
    ]
}

fn running() -> History {
    let mut history = History::of("campaign");
    history.observe("campaign.started", facts().remove(0).1, &[]);
    history
}

#[test]
fn a_running_campaign_is_paused_by_one_and_the_other_is_told_who() {
    let mut history = running();
    let paused = json!({ "ok": true, "campaignId": "spring", "pausedBy": "7" });
    assert_eq!(history.ask(&asked("campaign.pause", "7")), paused);
    let refused = history.ask(&asked("campaign.pause", "8"));
    assert_eq!((&refused["code"], &refused["pausedBy"]), (&json!("already_paused"), &json!("7")));
    assert_eq!(history.ask(&asked("campaign.pause", "7")), paused);
}

#[test]
fn only_a_paused_campaign_is_resumed() {
    let mut history = running();
    assert_eq!(history.ask(&asked("campaign.resume", "7"))["code"], "not_paused");
    history.ask(&asked("campaign.pause", "7"));
    history.observe("campaign.progress", facts().remove(1).1, &[]);
    assert_eq!(history.ask(&asked("campaign.resume", "8"))["resumedBy"], "8");
    assert_eq!(history.ask(&asked("campaign.pause", "7"))["ok"], true);
}

#[test]
fn nobody_pauses_what_is_over_or_was_never_there() {
    let mut history = running();
    history.observe("campaign.failed", facts().remove(3).1, &[]);
    history.observe("campaign.progress", facts().remove(1).1, &[]);
    assert_eq!(history.ask(&asked("campaign.pause", "7"))["code"], "campaign_over");
    let mut nothing = History::of("campaign");
    assert_eq!(nothing.ask(&asked("campaign.pause", "7"))["code"], "unknown_campaign");
    let user = command("campaign.pause", "spring", ("7", Role::User), json!({}));
    assert_eq!(running().ask(&user)["code"], "forbidden");
}

proptest! {
    #[test]
    fn whatever_is_asked_is_decided_once(steps in checks::steps()) {
        let commands = ["campaign.pause", "campaign.resume"].map(|kind| (kind, json!({})));
        let trial = Trial { category: "campaign", entity: "spring", commands: &commands, observations: &facts()[..3] };
        holds(&trial, &steps);
    }

    #[test]
    fn a_backend_may_report_in_any_order(facts in Just(facts()).prop_shuffle()) {
        any_order("campaign", facts);
    }
}

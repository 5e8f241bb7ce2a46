use super::*;
use crate::catalogue::Snapshot;
use crate::channel::Channel;
use crate::identity::{Glob, Identity, Role};
use crate::owned_id;

fn identity(role: Role, user: &str) -> Identity {
    Identity {
        tenant: tenant(),
        user: user.into(),
        role,
        email: None,
        channels: Vec::new(),
        publish: Vec::new(),
        expires_at: None,
        token_id: None,
        application: "test".into(),
        key: 0,
    }
}

fn channel(name: &str) -> Channel {
    Channel::parse(name).unwrap()
}

#[track_caller]
fn joins(role: Role, user: &str, allowed: &[&str], refused: &[&str]) {
    let (catalogue, identity) = (catalogue(), identity(role, user));
    for name in allowed {
        assert!(catalogue.may_join(&identity, &channel(name)), "{name}");
    }
    for name in refused {
        assert!(!catalogue.may_join(&identity, &channel(name)), "{name}");
    }
}

#[test]
fn a_user_joins_what_is_its_own() {
    let refused = [
        "user:8",
        "user:77",
        "calls",
        "admin",
        "team",
        "agent:9",
        "conversation:c",
        "connection:p",
    ];
    joins(Role::User, "7", &["user:7", "system", "admin:broadcast", "agent:7"], &refused);
}

#[test]
fn an_agent_joins_the_work_of_its_tenant() {
    let allowed = [
        "user:7",
        "team",
        "calls",
        "call:CA1",
        "agent:9",
        "dashboard:overview",
        "voice:training",
        "clips:analytics",
        "campaign:k",
        "contact:c",
        "whatsapp:a",
        "system",
    ];
    joins(Role::Agent, "7", &allowed, &["admin", "user:8", "conversation:c", "connection:p"]);
}

#[test]
fn an_admin_joins_everything_but_connections() {
    let allowed = ["user:8", "admin", "team", "conversation:c", "calls", "whatsapp:a"];
    joins(Role::Admin, "1", &allowed, &["connection:p", "nothing", "nothing:1", "call:"]);
}

#[test]
fn a_guest_joins_public_channels_only() {
    joins(Role::Guest, "g", &[], &["user:g", "system", "admin:broadcast", "calls", "agent:g"]);
}

#[test]
fn claims_open_declared_channels() {
    let mut service = identity(Role::Service, "svc");
    assert!(!catalogue().may_join(&service, &channel("calls")));
    service.channels = vec![Glob::new("call*"), Glob::new("no*"), Glob::new("connection:*")];
    assert!(catalogue().may_join(&service, &channel("calls")));
    assert!(catalogue().may_join(&service, &channel("call:CA1")));
    for name in ["campaign:k", "nothing", "connection:p"] {
        assert!(!catalogue().may_join(&service, &channel(name)), "{name}");
    }
}

#[test]
fn a_conversation_is_its_owners_wherever_it_is_asked_for() {
    let owned = owned_id::mint(&tenant(), "7", "7/k-1");
    let may = |role, user, id: &str| {
        catalogue().may_join(&identity(role, user), &channel(&format!("conversation:{id}")))
    };
    assert!(may(Role::User, "7", &owned) && may(Role::Agent, "7", &owned));
    assert!(!may(Role::User, "8", &owned), "another user's");
    assert!(!may(Role::User, "7", "c"), "not minted for anybody");
    assert!(!may(Role::Guest, "7", &owned));
    assert!(may(Role::Admin, "1", &owned));
}

#[test]
fn connections_begin_in_the_channels_of_their_role() {
    let joined = |role| -> Vec<String> {
        let channels = catalogue().auto_join(&identity(role, "7"), "p1");
        channels.iter().map(ToString::to_string).collect()
    };
    assert_eq!(joined(Role::Guest), ["connection:p1"]);
    assert_eq!(joined(Role::User), ["user:7", "connection:p1", "admin:broadcast", "system"]);
    assert_eq!(
        joined(Role::Agent),
        ["user:7", "connection:p1", "team", "admin:broadcast", "system"]
    );
    let admin = ["user:7", "connection:p1", "admin", "team", "admin:broadcast", "system"];
    assert_eq!(joined(Role::Admin), admin);
}

#[test]
fn the_seeds_room_names_are_accepted_on_join() {
    let canonical = |name: &str| catalogue().channel(name).map(|c| c.to_string());
    assert_eq!(canonical("user_7"), Some("user:7".into()));
    assert_eq!(canonical("conversation_c-9"), Some("conversation:c-9".into()));
    assert_eq!(canonical("calls"), Some("calls".into()));
    assert_eq!(canonical(""), None);
}

#[test]
fn a_gap_is_followed_by_the_channels_view() {
    let catalogue = catalogue();
    let (calls, call, team) = (channel("calls"), channel("call:CA1"), channel("team"));
    assert_eq!(catalogue.snapshot_of(&calls), Some(Snapshot { view: "active-calls", key: None }));
    assert_eq!(catalogue.snapshot_of(&call), Some(Snapshot { view: "calls", key: Some("CA1") }));
    assert_eq!(catalogue.snapshot_of(&team), None);
}

#[test]
fn publishing_needs_a_role_or_a_claim_and_decisions_are_nobodys() {
    let catalogue = catalogue();
    let may = |identity: &Identity, name: &str| {
        catalogue.may_publish(identity, catalogue.by_type(name).unwrap())
    };
    let service = identity(Role::Service, "svc");
    assert!(may(&service, "metric.update"));
    assert!(!may(&identity(Role::User, "7"), "metric.update"));
    assert!(may(&identity(Role::User, "7"), "custom.message"));
    assert!(!may(&identity(Role::Guest, "7"), "custom.message"));
    assert!(!may(&service, "broadcast.message"));

    let with_claim =
        |role, glob| Identity { publish: vec![Glob::new(glob)], ..identity(role, "7") };
    assert!(may(&with_claim(Role::User, "metric_*"), "metric.update"));
    assert!(!may(&with_claim(Role::Service, "call.*"), "metric.update"));
    for name in ["crisis.alert", "campaign.paused", "auth.revoked"] {
        assert!(!may(&with_claim(Role::Admin, "*"), name), "{name}");
    }
}

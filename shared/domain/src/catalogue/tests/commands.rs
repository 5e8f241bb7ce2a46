//! Every command of the embedded catalogue, and what becomes of a caller's wish.

use serde_json::{Value, json};

use super::*;
use crate::catalogue::{CommandRefusal, CommandType, Wish};
use crate::command::Command;
use crate::identity::{Glob, Identity, Role};
use crate::owned_id;
use crate::token::Token;

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

fn wish(argument: Value) -> Wish<'static> {
    Wish {
        argument: Some(argument),
        id: None,
        fallback: "k-1".to_owned(),
        connection: Some("p-1"),
        conversation: None,
        now: OffsetDateTime::UNIX_EPOCH,
    }
}

fn command(name: &str, role: Role, wish: Wish<'_>) -> Result<Command, CommandRefusal> {
    catalogue().command(name).unwrap().command(&identity(role, "7"), wish)
}

#[track_caller]
fn refused_at(name: &str, argument: Value, pointer: &str) {
    match command(name, Role::Admin, wish(argument)) {
        Err(CommandRefusal::Invalid(violation)) => assert_eq!(violation.pointer, pointer),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_command_of_the_seeds_is_known_by_its_name_there() {
    let catalogue = catalogue();
    for (wire, name, failure) in [
        ("conversation:start", "conversation.start", Some("Failed to start conversation")),
        ("conversation:message", "conversation.message", Some("Failed to get AI response")),
        ("conversation:end", "conversation.end", Some("Failed to end conversation")),
        ("admin:assign_crisis", "crisis.assign", Some("Failed to assign crisis alert")),
        ("admin:resolve_crisis", "crisis.resolve", Some("Failed to resolve crisis alert")),
        ("crisis:acknowledge", "crisis.acknowledge", Some("Failed to acknowledge crisis alert")),
        ("notification:read", "notification.read", None),
        ("call:terminate", "call.terminate", Some("Failed to terminate call")),
    ] {
        let command = catalogue.command(wire).unwrap_or_else(|| panic!("{wire}"));
        assert_eq!((&*command.name, command.failure.as_deref()), (name, failure));
        assert_eq!(catalogue.command(name).map(|command| &command.name), Some(&command.name));
    }
}

#[test]
fn every_example_becomes_a_command_with_a_subject_of_its_own() {
    let catalogue = catalogue();
    let mut subjects = std::collections::HashSet::new();
    for declared in catalogue.commands() {
        let mut data = declared.example.clone();
        if let Some(minted) = &declared.minted {
            data.as_object_mut().unwrap().remove(minted);
        }
        let by = identity(declared.roles[0], "7");
        let command = declared.command(&by, wish(data));
        let command = command.unwrap_or_else(|refusal| panic!("{}: {refusal}", declared.name));
        let subject = command.subject().unwrap();
        let name = subject.rsplit('.').next().unwrap().to_owned();
        assert!(subjects.insert(format!("{}.{name}", declared.category())), "{subject}");
        assert!(Token::parse(declared.category()).is_ok());
    }
}

#[test]
fn every_schema_refuses_a_missing_field_and_an_unknown_field() {
    let required = |command: &CommandType| {
        command.schema()["required"].as_array().cloned().unwrap_or_default()
    };
    for command in catalogue().commands() {
        let valid = |data: Value| command.schema.validate(&data).is_ok();
        let fields = command.example.as_object().unwrap();
        for name in required(command).iter().filter_map(Value::as_str) {
            let mut without = fields.clone();
            without.remove(name);
            assert!(!valid(Value::Object(without)), "{} without {name}", command.name);
            let mut wrong = fields.clone();
            wrong.insert(name.to_owned(), Value::Null);
            assert!(!valid(Value::Object(wrong)), "{}: {name} null", command.name);
        }
        let mut unknown = fields.clone();
        unknown.insert("unknown".to_owned(), json!(1));
        assert!(!valid(Value::Object(unknown)), "{}", command.name);
    }
}

#[test]
fn a_bare_argument_is_the_field_it_stands_for() {
    let bare = command("notification:read", Role::User, wish(json!("n-1"))).unwrap();
    assert_eq!(Value::Object(bare.data), json!({ "notificationId": "n-1" }));
    assert_eq!(bare.entity, "n-1");
    refused_at("crisis:reassign", json!("c-9-1"), "");
    let counted = command("notification:read", Role::User, wish(json!(7))).unwrap();
    assert_eq!(counted.entity, "7");
    refused_at("notification:read", json!([7]), "/notificationId");
    refused_at("notification:read", json!(null), "/notificationId");
}

#[test]
fn a_conversation_is_minted_for_its_caller_and_the_same_for_a_repeat() {
    let start = |argument| command("conversation:start", Role::User, wish(argument));
    let first = start(json!({ "avatarId": "maya" })).unwrap();
    assert!(owned_id::belongs_to(&first.entity, &tenant(), "7"));
    assert_eq!(first.field("conversationId"), Some(&*first.entity));
    assert_eq!(start(json!(null)).unwrap().entity, first.entity);
    let bare = start(json!("maya")).unwrap();
    assert_eq!((&bare.entity, bare.field("avatarId")), (&first.entity, Some("maya")));
    let other = Wish { id: Some("k-2".to_owned()), ..wish(json!({})) };
    assert_ne!(command("conversation:start", Role::User, other).unwrap().entity, first.entity);
    refused_at("conversation:start", json!({ "conversationId": "c-9" }), "/conversationId");
}

#[test]
fn a_message_belongs_to_the_latest_conversation_unless_it_names_another() {
    let said = |argument, conversation| {
        let wish = Wish { conversation, ..wish(argument) };
        command("conversation:message", Role::User, wish)
    };
    assert_eq!(said(json!("hello"), None), Err(CommandRefusal::NoConversation));
    let bare = said(json!("hello"), Some("c-9")).unwrap();
    assert_eq!(bare.entity, "c-9");
    assert_eq!(bare.field("messageId"), Some("k-1"), "a message without an id has its command's");
    let named = said(json!({ "conversationId": "c-8", "message": "hello" }), Some("c-9"));
    assert_eq!(named.unwrap().entity, "c-8");
}

#[test]
fn an_alert_is_decided_by_the_conversation_or_user_it_is_about() {
    let by =
        |alert: &str| command("crisis:resolve", Role::Admin, wish(json!(alert))).unwrap().entity;
    assert_eq!(by("c-9-1"), "c-9");
    assert_eq!(by("c--12"), "c-");
    assert_eq!(by("7-3"), "7");
    // None that was ever given; who decides says so.
    assert_eq!(by("7"), "7");
    assert_eq!(by("c-x"), "c-x");
}

#[test]
fn who_may_not_send_a_command_is_refused_whatever_it_says() {
    let assign = |role| command("admin:assign_crisis", role, wish(json!({ "alertId": "c-9-1" })));
    for role in [Role::Guest, Role::User, Role::Service] {
        assert_eq!(assign(role), Err(CommandRefusal::NotAllowed), "{}", role.name());
    }
    assert!(assign(Role::Admin).is_ok());
}

#[test]
fn a_claim_allows_a_command_and_narrows_a_service_to_itself() {
    let raise = catalogue();
    let raise = raise.command("crisis.raise").unwrap();
    let mut detector = identity(Role::User, "d");
    assert!(!raise.allows(&detector));
    detector.publish = vec![Glob::new("crisis.raise")];
    assert!(raise.allows(&detector));
    detector.publish = vec![Glob::new("crisis:*")];
    assert!(raise.allows(&detector), "by the name that clients use");
    let mut backend = identity(Role::Service, "s");
    assert!(raise.allows(&backend));
    backend.publish = vec![Glob::new("call.*")];
    assert!(!raise.allows(&backend));
}

#[test]
fn an_id_of_the_callers_own_is_bounded() {
    let with = |id: &str| Wish { id: Some(id.to_owned()), ..wish(json!("n-1")) };
    for bad in ["", "a\nb", " a", "a\u{a0}", &"x".repeat(129)] {
        let refused = command("notification:read", Role::User, with(bad));
        assert_eq!(refused, Err(CommandRefusal::BadId));
    }
    assert_eq!(command("notification:read", Role::User, with("mine")).unwrap().id, "mine");
}

#[test]
fn an_operator_declares_no_commands() {
    let file = ("mine.toml".to_owned(), "[[command]]\nname = \"x\"\nsummary = \"x\"\nroles = []\nentity = \"x\"\nexample = {}\nschema = {}\n".to_owned());
    let told = Catalogue::load(&[file]).err().unwrap().to_string();
    assert!(told.contains("command x: commands are the platform's own"), "{told}");
}

#[test]
fn an_id_that_a_header_would_change_is_refused_with_its_place() {
    for bad in ["sp ", " sp", "sp\u{a0}", "s\np", "s\rp", "\tsp", "s\u{0}p", "\n"] {
        let raise = json!({ "userId": bad, "severity": "high", "signals": [] });
        refused_at("crisis.raise", raise, "/userId");
        refused_at("crisis:acknowledge", json!({ "alertId": bad }), "/alertId");
    }
    let spaced = json!({ "userId": "Ann  Smith, ä", "severity": "high", "signals": [] });
    assert!(command("crisis.raise", Role::Admin, wish(spaced)).is_ok());
}

use serde_json::{Map, json};

use super::*;
use crate::command::{Actor, Command};
use crate::identity::Role;

const ON: &str = r#"
[[protection]]
tenant = "acme"
fields = ["contact.created", "message.received/message.content", "crisis.resolved"]
"#;

fn with(text: &str) -> Result<Catalogue, String> {
    let files = [("protection.toml".to_owned(), text.to_owned())];
    Catalogue::load(&files).map_err(|mistakes| mistakes.to_string())
}

fn fields(catalogue: &Catalogue, tenant: &str, event: &str) -> Vec<String> {
    let tenant = Tenant::parse(tenant).unwrap();
    let protection = catalogue.protection(&tenant, catalogue.by_type(event).unwrap());
    protection.map(|it| it.fields.clone()).unwrap_or_default()
}

#[test]
fn a_tenant_turns_on_a_type_or_a_field_and_no_other_tenant_does() {
    let catalogue = with(ON).unwrap();
    let created = ["contact.name", "contact.phone", "contact.email"];
    assert_eq!(fields(&catalogue, "acme", "contact.created"), created);
    assert_eq!(fields(&catalogue, "acme", "message.received"), ["message.content"]);
    assert!(fields(&catalogue, "acme", "message.sent").is_empty());
    assert!(fields(&catalogue, "globex", "contact.created").is_empty());
    for tenant in ["acme", "globex"] {
        assert_eq!(fields(&catalogue, tenant, "conversation.message"), ["message"], "always");
    }
}

#[test]
fn a_command_is_sealed_for_its_sender_where_the_event_it_becomes_is_sealed() {
    let catalogue = with(ON).unwrap();
    let command = |tenant: &str, kind: &str| Command {
        id: "k-1".into(),
        kind: kind.into(),
        tenant: Tenant::parse(tenant).unwrap(),
        entity: "c-9".into(),
        actor: Actor { user: "boss".into(), role: Role::Admin },
        connection: None,
        reply: None,
        time: defaults().now,
        data: Map::from_iter([("notes".to_owned(), json!("Spoke to the user."))]),
    };
    let (protection, subject) = catalogue.protected(&command("acme", "crisis.resolve")).unwrap();
    assert_eq!((&*protection.fields[0], subject.id.as_str()), ("notes", "boss"));
    assert!(catalogue.protected(&command("globex", "crisis.resolve")).is_none());
    assert!(catalogue.protected(&command("acme", "call.note")).is_none());
    assert!(catalogue.protected(&command("globex", "conversation.message")).is_some());
}

#[test]
fn what_cannot_be_sealed_is_told() {
    for (from, to, problem) in [
        ("contact.created", "contact.deleted", "contact.deleted is nothing that can be sealed"),
        ("message.content", "message.id", "message.received/message.id is nothing"),
        ("contact.created", "contact.moved", "contact.moved is nothing"),
        ("\"acme\"", "\"a b\"", "tenant: "),
        ("fields", "field", "field"),
    ] {
        let told = with(&ON.replace(from, to)).err().unwrap_or_default();
        assert!(told.contains("protection.toml") && told.contains(problem), "{problem}: {told}");
    }
}

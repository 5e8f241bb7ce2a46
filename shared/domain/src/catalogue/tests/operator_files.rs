use serde_json::json;

use super::*;
use crate::catalogue::Mistake;

const ORDER: &str = r#"
category = "custom"

[[channel]]
name = "shop:{id}"
summary = "One shop."
roles = ["guest", "user"]

[[event]]
name = "order.placed"
summary = "Somebody ordered."
entity = "{orderId}"
channels = ["shop:{shopId}"]
example = { orderId = "o-1", shopId = "s-1" }
[event.schema]
required = ["orderId", "shopId"]
[event.schema.properties]
orderId = "id"
shopId = "id"
"#;

fn load(files: &[(&str, &str)]) -> Result<Catalogue, Vec<Mistake>> {
    let files: Vec<_> = files.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect();
    Catalogue::load(&files).map_err(|mistakes| mistakes.0)
}

/// Loads one file with `from` replaced and expects one mistake that says `problem`.
#[track_caller]
fn mistake(from: &str, to: &str, problem: &str) {
    assert!(ORDER.contains(from), "{from}");
    let mistakes = load(&[("shop.toml", &ORDER.replace(from, to))]).err().unwrap_or_default();
    let found = mistakes.iter().any(|m| m.file == "shop.toml" && m.to_string().contains(problem));
    assert!(found, "{problem}: {mistakes:?}");
}

#[test]
fn an_added_event_is_validated_and_routed_like_any_other() {
    let catalogue = load(&[("shop.toml", ORDER)]).unwrap();
    let order =
        Publication::new("custom:order:placed", "shop", json!({"orderId": "o", "shopId": "s"}));
    let admitted = catalogue.admit(&tenant(), order, defaults()).unwrap();
    assert_eq!(admitted.subject.as_str(), "events.acme.custom.o.order-placed");
    assert_eq!(admitted.envelope.channels[0].as_str(), "shop:s");
}

#[test]
fn redefining_is_a_mistake() {
    let again = load(&[("a.toml", ORDER), ("b.toml", ORDER)]).err().unwrap();
    let told: Vec<_> = again.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("b.toml: channel shop:{id}: is declared already"), "{told:?}");
    assert!(
        told[1].starts_with("b.toml: event custom.order.placed: is declared already"),
        "{told:?}"
    );
    mistake("name = \"order.placed\"", "name = \"message\"", "custom.message: is declared already");
    mistake(
        "name = \"shop:{id}\"",
        "name = \"call:{id}\"",
        "channel call:{id}: is declared already",
    );
    mistake(
        "[event.schema]",
        "[types]\nid = {}\n[event.schema]",
        "id: this type is declared already",
    );
}

#[test]
fn what_does_not_fit_together_is_told() {
    mistake("category = \"custom\"", "category = \"shop\"", "category shop belongs to no stream");
    mistake("category = \"custom\"", "", "category: is missing");
    mistake("shop:{shopId}", "store:{shopId}", "store:{shopId} is no declared channel");
    mistake("{orderId}", "{order}", "needs order, which the schema does not require");
    mistake("{orderId}", "{orderId?}", "entity: ");
    mistake("orderId = \"id\"", "orderId = \"ident\"", "orderId: \"ident\" is no declared type");
    mistake("orderId = \"o-1\"", "orderId = 1", "example/orderId");
    mistake("summary = \"Somebody", "sumary = \"Somebody", "sumary");
    let names: Vec<String> = (0..8).map(|at| format!("kind{at} = \"name{at}\"")).collect();
    let many = format!("wire_for = {{ {} }}\nsummary = \"Somebody", names.join(", "));
    mistake("summary = \"Somebody", &many, "more than 8 wire names");
    mistake("summary = \"Somebody", "wire = \"error\"\nsummary = \"Somebody", "error is reserved");
    mistake(
        "summary = \"Somebody",
        "wire = \"disconnect\"\nsummary = \"Somebody",
        "disconnect is reserved",
    );
    mistake(
        "summary = \"Somebody",
        "wire = \"call_data\"\nsummary = \"Somebody",
        "call_data is call.update's",
    );
    mistake(
        "summary = \"Somebody",
        "form = { field = \"x\" }\nsummary = \"Somebody",
        "x is no property",
    );
    mistake(
        "summary = \"Somebody",
        "delivery = \"critical\"\nsummary = \"Somebody",
        "may be critical",
    );
    mistake(
        "summary = \"Somebody",
        "publishers = [\"root\"]\nsummary = \"Somebody",
        "\"root\" is no role",
    );
    mistake("order.placed", "Order placed", "name: use a-z");
    mistake("[event.schema]", "[event.schema", "shop.toml:");
    let frame = "[[frame]]\nname = \"f\"\nsummary = \"\"\nwires = []\nexample = {}\nschema = {}\n[[channel]]";
    mistake("[[channel]]", frame, "frame f: session frames are the platform's own");
    mistake("[[channel]]", "[[chanel]]", "chanel: is not known here");
}

#[test]
fn all_mistakes_of_all_files_are_told_at_once() {
    let a = ORDER.replace("shop:{shopId}", "store:{shopId}").replace("orderId = \"o-1\", ", "");
    let b = "category = \"custom\"\n[[event]]\nname = \"x\"\n[[event]]\nname = \"y\"\n";
    let mistakes = load(&[("a.toml", &a), ("b.toml", b)]).err().unwrap();
    let entries: Vec<_> =
        mistakes.iter().map(|m| (m.file.as_str(), m.entry.as_deref().unwrap_or(""))).collect();
    assert!(entries.contains(&("a.toml", "event custom.order.placed")), "{entries:?}");
    assert!(entries.contains(&("b.toml", "event x")), "{entries:?}");
    assert!(entries.contains(&("b.toml", "event y")), "{entries:?}");
}

#[test]
fn an_operators_channel_may_be_public() {
    let catalogue = load(&[("shop.toml", ORDER)]).unwrap();
    let rule = catalogue.channels().find(|rule| rule.name == "shop:{id}").unwrap();
    assert_eq!(rule.kind(), "shop");
    assert!(rule.roles.contains(&crate::identity::Role::Guest));
}

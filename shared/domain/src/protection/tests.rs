use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;

fn person(tenant: &str, id: &str) -> Subject {
    Subject::new(&Tenant::parse(tenant).unwrap(), &Token::parse("user").unwrap(), id)
}

fn key() -> DataKey {
    DataKey::new([7; 32])
}

fn messages() -> Protection {
    Protection {
        kind: Token::parse("user").unwrap(),
        id_field: "userId".into(),
        fields: vec!["message".into(), "said.text".into()],
        always: true,
    }
}

fn data() -> Map<String, Value> {
    json!({ "userId": "7", "message": "I slept \"well\".", "said": { "text": "x", "at": 1 }, "n": 1 })
        .as_object()
        .unwrap()
        .clone()
}

#[test]
fn protected_fields_are_sealed_and_the_others_stay() {
    let (mut sealed, person) = (data(), person("acme", "7"));
    seal_fields(&mut sealed, &messages(), &person, &key(), || [1; 12]);
    assert_eq!((&sealed["userId"], &sealed["n"]), (&json!("7"), &json!(1)));
    let text = Value::Object(sealed.clone()).to_string();
    assert!(!text.contains("slept"), "{text}");
    assert_eq!(messages().clear(&sealed).count(), 0);

    let opened =
        open_json(text.as_bytes(), &person.tenant, |subject| (*subject == person).then(key));
    assert_eq!(serde_json::from_slice::<Value>(&opened).unwrap(), Value::Object(data()));
}

#[test]
fn whose_the_sealed_texts_are_is_known_without_opening_them() {
    let (mut sealed, person) = (data(), person("acme", "7"));
    seal_fields(&mut sealed, &messages(), &person, &key(), || [1; 12]);
    let text = Value::Object(sealed).to_string();
    let found: Vec<_> = subjects_in(text.as_bytes(), &person.tenant).collect();
    assert_eq!(found, [person.clone(), person]);
    assert!(!holds_sealed(br#"{"a":"tl2.x","b":"x tl1."}"#));
}

#[test]
fn only_the_text_that_the_platform_put_there_is_its_own() {
    let (name, person) = (json!("Maya"), person("acme", "7"));
    let [own, copied] = [1, 2].map(|once| seal(&key(), &person, &name, [once; 12]));
    let holds = |data: Value, own: Option<&str>| {
        holds_sealed_besides(data.to_string().as_bytes(), &person.tenant, own)
    };
    assert!(holds(json!({ "name": own }), None));
    assert!(!holds(json!({ "name": own }), Some(&own)));
    assert!(holds(json!({ "name": own, "note": copied }), Some(&own)));
    assert!(!holds(json!({ "name": "Maya" }), Some("Maya")));
}

#[test]
fn what_only_begins_like_a_sealed_text_is_sealed_like_any_other() {
    let person = person("acme", "7");
    for said in [
        "tl1.",
        "tl1. I have the pills",
        "tl1.user.7.short",
        "tl1.user.7.not base64url, however long it is told",
    ] {
        let mut data = json!({ "userId": "7", "message": said }).as_object().unwrap().clone();
        assert_eq!(messages().clear(&data).collect::<Vec<_>>(), ["message"], "{said}");
        seal_fields(&mut data, &messages(), &person, &key(), || [1; 12]);
        assert_ne!(data["message"], said);
        let text = Value::Object(data).to_string();
        let opened = open_json(text.as_bytes(), &person.tenant, |_| Some(key()));
        assert_eq!(serde_json::from_slice::<Value>(&opened).unwrap()["message"], said);
    }
    let shortest = seal(&key(), &person, &json!(1), [1; 12]);
    assert_eq!(subject_of(&person.tenant, &shortest), Some(person));
}

#[test]
fn without_its_key_a_field_is_a_tombstone() {
    let (mut sealed, person) = (data(), person("acme", "7"));
    seal_fields(&mut sealed, &messages(), &person, &key(), || [1; 12]);
    let text = Value::Object(sealed).to_string();
    let opened = open_json(text.as_bytes(), &person.tenant, |_| None);
    let opened: Value = serde_json::from_slice(&opened).unwrap();
    assert_eq!((&opened["message"], &opened["n"]), (&json!(ERASED), &json!(1)));
}

#[test]
fn a_sealed_text_belongs_to_one_person_of_one_tenant() {
    let mine = person("acme", "7");
    let sealed = seal(&key(), &mine, &json!("secret"), [1; 12]);
    assert_eq!(subject_of(&mine.tenant, &sealed).unwrap(), mine);
    assert_eq!(open(&key(), &mine, &sealed).unwrap(), json!("secret"));
    for other in [person("acme", "8"), person("other", "7")] {
        assert_eq!(open(&key(), &other, &sealed), Err(Locked::Broken));
    }
    assert_eq!(open(&DataKey::new([8; 32]), &mine, &sealed), Err(Locked::Broken));
}

#[test]
fn a_key_is_wrapped_for_its_person_and_survives_the_rotation_of_the_platforms_key() {
    let (old, person) = (WrappingKeys::new(b"old", None), person("acme", "7"));
    let wrapped = old.wrap(&person, &key(), [2; 12]);
    let rotated = WrappingKeys::new(b"new", Some(b"old"));
    assert_eq!(rotated.unwrap(&person, &wrapped).unwrap(), key());
    assert!(WrappingKeys::new(b"new", None).unwrap(&person, &wrapped).is_err());
    assert!(rotated.unwrap(&self::person("other", "7"), &wrapped).is_err());
    assert_eq!(Subject::of_key_name(&person.key_name()).unwrap(), person);
}

#[test]
fn json_without_anything_sealed_is_left_as_it_is() {
    let json = br#"{"message":"tl1 is no mark"}"#;
    let opened = open_json(json, &person("acme", "7").tenant, |_| None);
    assert!(matches!(opened, std::borrow::Cow::Borrowed(_)));
}

#[test]
fn a_fingerprint_tells_the_same_words_from_others_to_who_has_the_key_alone() {
    let mine = person("acme", "7");
    let of = |key: &DataKey, words: &str, once| {
        fingerprint(key, &mine, &seal(key, &mine, &json!(words), once)).unwrap()
    };
    let print = of(&key(), "I cannot go on.", [1; 12]);
    assert_eq!(of(&key(), "I cannot go on.", [2; 12]), print, "however often it is sealed");
    assert_ne!(of(&key(), "I can go on.", [1; 12]), print);
    let another = DataKey::new([8; 32]);
    assert_ne!(of(&another, "I cannot go on.", [1; 12]), print, "it needs the key to be made");
    let sealed = seal(&key(), &mine, &json!("I cannot go on."), [1; 12]);
    assert_eq!(fingerprint(&another, &mine, &sealed), Err(Locked::Broken));
}

proptest! {
    #[test]
    fn whatever_is_sealed_opens_again(text in "\\PC{0,60}", id in "\\PC{1,80}", once: [u8; 12]) {
        let person = person("acme", &id);
        let sealed = seal(&key(), &person, &json!(text), once);
        prop_assert_eq!(subject_of(&person.tenant, &sealed).unwrap(), person.clone());
        prop_assert_eq!(open(&key(), &person, &sealed).unwrap(), json!(text));
    }

    #[test]
    fn any_text_that_only_looks_sealed_is_told_as_unreadable(rest in "\\PC{0,60}") {
        let text = json!({ "message": format!("{MARK}{rest}") }).to_string();
        let opened = open_json(text.as_bytes(), &person("acme", "7").tenant, |_| Some(key()));
        prop_assert!(serde_json::from_slice::<Value>(&opened).is_ok());
    }
}

use super::*;

fn no_files(_: &str) -> std::io::Result<String> {
    Err(std::io::Error::other("no such file"))
}

#[track_caller]
fn mistakes(text: &str) -> Vec<String> {
    Sources::parse(text, &no_files).unwrap_err().0
}

const ALL: &str = r#"
[[source]]
name = "acme-twilio"
provider = "twilio"
tenant = "acme"
secrets = ["newest"]
secrets_files = ["/run/old"]
public_url = "https://hooks.example.com/"
owner = "7"
default = true

[[source]]
name = "acme-desk"
provider = "callerdesk"
tenant = "acme"
allow_from = ["127.0.0.0/8"]
default = true

[[source]]
name = "acme-wa"
provider = "whatsapp"
tenant = "acme"
secrets = ["app"]
verify_token = "v"
accounts = { "1055" = "account-7" }
"#;

#[test]
fn every_key_is_read() {
    let read = |path: &str| Ok(format!("from {path}\n"));
    let sources = Sources::parse(ALL, &read).unwrap();
    let twilio = sources.named("acme-twilio").unwrap();
    let secrets: Vec<_> = twilio.secrets.iter().map(Secret::expose).collect();
    assert_eq!(secrets, ["newest", "from /run/old"]);
    assert_eq!(twilio.public_url, "https://hooks.example.com");
    assert_eq!((twilio.owner.as_deref(), twilio.tenant.as_str()), (Some("7"), "acme"));
    assert_eq!(sources.default_of(Provider::Twilio).unwrap().name, twilio.name);
    assert!(sources.default_of(Provider::WhatsApp).is_none());
    let whatsapp = sources.named("acme-wa").unwrap();
    assert_eq!(whatsapp.accounts["1055"], "account-7");
    assert!(sources.named("acme-desk").unwrap().allow_from[0].contains([127, 0, 0, 1].into()));
}

#[test]
fn all_mistakes_are_told_at_once_with_their_place() {
    let found = mistakes(
        r#"
        extra = 1
        [[source]]
        name = "a b"
        provider = "telegram"
        tenant = 7
        default = "yes"
        colour = "red"
        [[source]]
        provider = "twilio"
        tenant = "acme"
        secrets_files = ["/gone"]
        accounts = { "1" = 2 }
        "#,
    );
    let expected = [
        "extra: is not known",
        "source \"a b\": colour: is not known",
        "source \"a b\": name: \"a b\" must be",
        "source \"a b\": provider: \"telegram\" is not one of twilio",
        "source \"a b\": tenant: must be a text",
        "source number 2: name: is missing",
        "source number 2: secrets_files: /gone cannot be read",
    ];
    for text in expected {
        assert!(found.iter().any(|m| m.contains(text)), "{text} is not in {found:#?}");
    }
}

#[test]
fn what_a_provider_needs_or_cannot_use_is_checked() {
    let source = |rest: &str| format!("[[source]]\nname = 'x'\ntenant = 't'\n{rest}");
    for (rest, key) in [
        ("provider = 'twilio'\nsecrets = ['s']", "public_url"),
        ("provider = 'twilio'\npublic_url = 'https://x'", "secrets"),
        ("provider = 'callerdesk'", "secrets"),
        ("provider = 'callerdesk'\nallow_from = ['10.0.0.0/99']", "allow_from"),
        ("provider = 'elevenlabs'\nsecrets = ['s']\nallow_from = ['::/0']", "allow_from"),
        ("provider = 'elevenlabs'\nsecrets = ['s', '']", "secrets"),
        ("provider = 'standard'\nsecrets = ['whsec_short']", "secrets"),
    ] {
        let found = mistakes(&source(rest));
        assert!(found.iter().any(|m| m.starts_with(&format!("source \"x\": {key}:"))), "{found:?}");
    }
}

#[test]
fn two_of_one_name_and_two_defaults_of_one_provider_are_mistakes() {
    let one = "[[source]]\nname = 'x'\nprovider = 'elevenlabs'\ntenant = 't'\nsecrets = ['s']\ndefault = true\n";
    let found = mistakes(&format!("{one}{one}"));
    assert!(found.iter().any(|m| m.contains("used twice")), "{found:?}");
    assert!(found.iter().any(|m| m.contains("default of elevenlabs already")), "{found:?}");
}

#[test]
fn a_line_that_is_no_toml_is_named_but_never_quoted() {
    let found = mistakes("[[source]]\nsecrets = [\"hunter2\" oops");
    assert!(found[0].contains("line 2") && !found[0].contains("hunter2"), "{found:?}");
}

use domain::identity::Role;

use super::*;

#[track_caller]
fn mistakes(toml: &str) -> Vec<String> {
    parse(toml, None).expect_err("accepted").0
}

#[test]
fn the_documented_example_is_read() {
    let text = r#"
        [[application]]
        name = "ezri"
        tenant = "ezri"
        origins = ["http://localhost:5173"]
        key = { secret = "s" }
        issuer = "https://id.example.com"
        expiry = "required"
        roles = { super = "admin", authenticated = "user" }
        default_role = "user"
        anonymous = ""
        cookie = "token"
        auth_proxy = ""
    "#;
    let found = parse(text, None).unwrap();
    assert_eq!(found.len(), 1);
    let ezri = &found[0];
    assert_eq!(&*ezri.name, "ezri");
    assert_eq!(ezri.key, Some(KeySource::Secret(Secret::new("s"))));
    assert_eq!(ezri.roles["super"], Role::Admin);
    assert_eq!((ezri.anonymous, ezri.expiry), (None, Expiry::Required));
    assert_eq!((ezri.cookie.as_deref(), &ezri.auth_proxy), (Some("token"), &None));
}

#[test]
fn every_mistake_of_the_file_is_told_with_its_application() {
    let found = mistakes(
        r#"
        [[application]]
        name = "one"
        tenant = "a.b"
        key = { secret = "s", jwks_url = "https://x" }
        expiry = "never"
        roles = { boss = "king" }
        anonymous = "admin"
        origins = ["https://x.example/path", "*"]
        auth_proxy = "/me"
        cokie = "token"
        [[application]]
        tenant = "two"
        "#,
    );
    let about = |text: &str| found.iter().filter(|mistake| mistake.contains(text)).count();
    assert_eq!(about(r#"application "one": tenant: "a.b" must be 1 to 64 characters"#), 1);
    for key in ["key", "expiry", "roles.boss", "anonymous", "auth_proxy", "cokie"] {
        assert_eq!(about(&format!(r#"application "one": {key}: "#)), 1, "{key} in {found:#?}");
    }
    assert_eq!(about(r#"application "one": origins: "#), 2);
    assert_eq!(about("application number 2: name: missing"), 1);
    assert_eq!(about("application number 2: key: missing"), 1);
    assert_eq!(found.len(), 11, "{found:#?}");
}

#[test]
fn mistakes_show_no_secret() {
    let shown = [
        mistakes("[[application]]\nname = 'a'\ntenant = 'a'\nkey = 'hunter2'"),
        mistakes("[[application]]\nname = 'a'\ntenant = 'a'\nkey = { secret = ['hunter2'] }"),
        mistakes("[[application]]\nname = 'a'\nkey = { secret = 'hunter2 }"),
    ];
    for mistake in shown.iter().flatten() {
        assert!(!mistake.contains("hunter2"), "{mistake}");
    }
    assert!(shown[2][0].starts_with("APPLICATIONS_FILE: is not TOML: line 3"), "{shown:?}");
}

#[test]
fn applications_that_cannot_be_told_apart_are_refused() {
    let entry = |name: &str, more: &str| {
        format!(
            "[[application]]\nname = '{name}'\ntenant = '{name}'\nkey = {{ secret = 's' }}\n{more}\n"
        )
    };
    let check = |text: String| ambiguities(&parse(&text, None).unwrap());
    assert_eq!(check(entry("a", "") + &entry("a", "issuer = 'i'")).len(), 1);
    assert_eq!(check(entry("a", "") + &entry("b", "")).len(), 1);
    assert_eq!(check(entry("a", "issuer = 'i'") + &entry("b", "issuer = 'j'")), [""; 0]);
}

#[test]
fn an_anonymous_visitor_needs_a_tenant() {
    let found = mistakes(
        "[[application]]\nname = 'a'\ntenant = 'from-token'\nkey = { secret = 's' }\nanonymous = 'guest'",
    );
    assert!(found[0].contains("anonymous: needs a tenant"), "{found:?}");
}

#[test]
fn an_empty_file_is_a_mistake() {
    assert_eq!(mistakes(""), ["APPLICATIONS_FILE: holds no [[application]]; add one"]);
}

#[track_caller]
fn read<const N: usize>(given: [(&str, &str); N]) -> Result<Settings, Mistakes> {
    let mut reader = Reader::new(&given);
    let settings = Settings::read(&mut reader);
    reader.finish(settings)
}

#[test]
fn nothing_configured_is_one_mistake_that_names_the_ways() {
    let found = read([]).unwrap_err().0;
    assert_eq!(
        found,
        ["JWT_SECRET: missing; set it, JWT_PUBLIC_KEY_FILE, JWT_JWKS_URL or APPLICATIONS_FILE"]
    );
    // As compose files say "none".
    assert_eq!(read([("JWT_SECRET", ""), ("JWT_SECRET_FILE", "")]).unwrap_err().0, found);
}

#[test]
fn two_keys_at_once_are_a_mistake() {
    let found = read([("JWT_SECRET", "s"), ("JWT_JWKS_URL", "https://id.example.com/keys")]);
    let found = found.unwrap_err().0;
    assert_eq!(found, ["JWT_SECRET: keep one of JWT_SECRET, JWT_PUBLIC_KEY_FILE and JWT_JWKS_URL"]);
}

#[test]
fn wrong_values_are_told_with_their_variable() {
    let found = read([
        ("JWT_JWKS_URL", "id.example.com/keys"),
        ("DEFAULT_TENANT", "a b"),
        ("ALLOWED_ORIGINS", "https://ok.example, localhost:5173"),
        ("APPLICATIONS_FILE", "/does/not/exist"),
    ]);
    let found = found.unwrap_err().0;
    let names: Vec<_> = found.iter().map(|text| text.split(':').next().unwrap()).collect();
    assert_eq!(names, ["ALLOWED_ORIGINS", "DEFAULT_TENANT", "JWT_JWKS_URL", "APPLICATIONS_FILE"]);
}

//! What an application's entry makes of a token.

use super::*;

#[test]
fn an_integer_user_id_is_its_decimal_text() {
    let mut claims = with("sub", Value::Null);
    claims["userId"] = json!(42);
    assert_eq!(&*check(&acme(""), &claims).unwrap().user, "42");
}

#[test]
fn roles_are_mapped_and_the_strongest_counts() {
    let mapped = acme("roles = { authenticated = 'user', boss = 'admin' }\ndefault_role = 'guest'");
    let role = |value: Value| check(&mapped, &with("role", value)).unwrap().role;
    assert_eq!(role(json!("boss")), Role::Admin);
    assert_eq!(role(json!("authenticated")), Role::User);
    assert_eq!(role(json!("super")), Role::Admin, "the platform's own words count besides");
    assert_eq!(role(json!(["authenticated", "agent"])), Role::Agent);
    assert_eq!(role(json!("janitor")), Role::Guest);
    assert_eq!(role(Value::Null), Role::Guest);

    let mut claims = with("role", json!("authenticated"));
    claims["roles"] = json!(["boss"]);
    assert_eq!(check(&mapped, &claims).unwrap().role, Role::Admin);
}

#[test]
fn a_mapped_role_wins_over_the_platforms_meaning_of_the_word() {
    let mapped = acme("roles = { admin = 'agent' }");
    assert_eq!(check(&mapped, &with("role", json!("admin"))).unwrap().role, Role::Agent);
}

#[test]
fn the_tenant_of_a_fixed_application_cannot_be_claimed() {
    let identity = check(&acme(""), &with("tenant", json!("other"))).unwrap();
    assert_eq!(identity.tenant.as_str(), "acme");
}

#[test]
fn a_tenant_from_the_token_must_be_there_and_be_a_token() {
    let any = authenticator(&format!(
        "[[application]]\nname = 'any'\ntenant = 'from-token'\nkey = {{ secret = '{SECRET}' }}"
    ));
    let tenant = |claims: &Value| check(&any, claims).map(|identity| identity.tenant.to_string());
    assert_eq!(tenant(&with("tenant", json!("acme"))).as_deref(), Ok("acme"));
    assert_eq!(tenant(&with("workspaceId", json!("w-1"))).as_deref(), Ok("w-1"));
    assert_eq!(tenant(&claims()), Err(AuthError::Claim("tenant")));
    for bad in ["", "a.b", "*", ">", "a b", "events.>"] {
        assert_eq!(tenant(&with("tenant", json!(bad))), Err(AuthError::Claim("tenant")), "{bad}");
    }
}

#[test]
fn checked_at_connect_means_no_end_afterwards() {
    let acme = acme("expiry = 'at-connect'");
    assert_eq!(check(&acme, &claims()).unwrap().expires_at, None);
    assert_eq!(check(&acme, &with("exp", Value::Null)).unwrap().expires_at, None);
    assert_eq!(check(&acme, &with("exp", json!(NOW - 1))), Err(AuthError::Expired));
}

#[test]
fn the_issuer_or_else_the_key_picks_the_application() {
    let two = authenticator(&format!(
        "[[application]]\nname = 'issued'\ntenant = 'one'\nissuer = 'https://one'\nkey = {{ secret = '{SECRET}' }}
         [[application]]\nname = 'second'\ntenant = 'two'\nkey = {{ secret = 'another secret' }}
         [[application]]\nname = 'third'\ntenant = 'three'\nkey = {{ secret = '{SECRET}' }}"
    ));
    let tenant = |claims: &Value| check(&two, claims).map(|identity| identity.tenant.to_string());
    assert_eq!(tenant(&with("iss", json!("https://one"))).as_deref(), Ok("one"));
    assert_eq!(tenant(&with("iss", json!("https://elsewhere"))).as_deref(), Ok("three"));
    let other = EncodingKey::from_secret(b"another secret");
    let token = signed(&Header::default(), &with("iss", json!("https://one")), &other);
    assert_eq!(two.verify_at(&token, NOW), Err(AuthError::Signature), "the issuer binds the key");
    let token = signed(&Header::default(), &claims(), &other);
    assert_eq!(two.verify_at(&token, NOW).unwrap().tenant.as_str(), "two");
}

#[test]
fn the_variables_describe_one_application() {
    let given = [
        ("JWT_SECRET", SECRET),
        ("DEFAULT_TENANT", "acme"),
        ("FRONTEND_URL", "http://localhost:5173/"),
    ];
    let mut reader = Reader::new(&given);
    let settings = Settings::read(&mut reader);
    reader.finish(()).unwrap();
    let authenticator = Authenticator::new(settings, &client());
    assert!(authenticator.origins().allows(Some("http://localhost:5173")));
    assert!(!authenticator.origins().allows(Some("http://localhost:5174")));
    assert_eq!(check(&authenticator, &claims()).unwrap().tenant.as_str(), "acme");
    let named = check(&authenticator, &with("tenant", json!("beta"))).unwrap();
    assert_eq!(named.tenant.as_str(), "beta");
}

#[test]
fn a_withdrawn_key_or_application_ends_who_came_in_by_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let entry = |name: &str, secret: &str| {
        format!(
            "[[application]]\nname = '{name}'\ntenant = 'acme'\nkey = {{ secret = '{secret}' }}\n"
        )
    };
    std::fs::write(file.path(), entry("acme", SECRET) + &entry("kept", "other")).unwrap();
    let given = [("APPLICATIONS_FILE", file.path().to_str().unwrap())];
    let mut reader = Reader::new(&given);
    let settings = Settings::read(&mut reader);
    reader.finish(()).unwrap();
    let authenticator = Authenticator::new(settings, &client());
    let identity = check(&authenticator, &claims()).unwrap();
    let changes = authenticator.changes();

    std::fs::write(file.path(), "[[application]]\nname = 'broken'").unwrap();
    assert!(authenticator.reload().is_err());
    assert!(!changes.has_changed().unwrap());
    assert_eq!(authenticator.still_valid_at(&identity, NOW), Ok(()), "the old file stays in force");

    std::fs::write(file.path(), entry("acme", SECRET) + &entry("added", "third")).unwrap();
    authenticator.reload().unwrap();
    assert!(changes.has_changed().unwrap());
    assert_eq!(authenticator.still_valid_at(&identity, NOW), Ok(()));

    std::fs::write(file.path(), entry("acme", "rotated")).unwrap();
    authenticator.reload().unwrap();
    assert_eq!(authenticator.still_valid_at(&identity, NOW), Err(AuthError::Withdrawn));
    assert_eq!(check(&authenticator, &claims()), Err(AuthError::Signature));
}

#[test]
fn a_live_connection_ends_with_its_token() {
    let acme = acme("");
    let identity = check(&acme, &claims()).unwrap();
    assert_eq!(acme.still_valid_at(&identity, NOW + 59), Ok(()));
    assert_eq!(acme.still_valid_at(&identity, NOW + 60), Err(AuthError::Expired));
}

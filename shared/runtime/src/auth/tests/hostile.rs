//! Tokens that must not get in.

use super::*;

/// A token of any header and claims, with a signature made elsewhere.
fn raw(header: &str, claims: &str, signature: &str) -> String {
    format!("{}.{}.{signature}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

#[track_caller]
fn refused(authenticator: &Authenticator, token: &str) -> AuthError {
    authenticator.verify_at(token, NOW).expect_err(token)
}

fn rs256() -> Authenticator {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let toml = "[[application]]\nname = 'acme'\ntenant = 'acme'\nkey = { public_key_file = 'rs256_public.pem' }";
    let applications = applications::parse(toml, Some(&folder)).unwrap();
    Authenticator::new(Settings { applications, ..settings(MINIMAL) }, &client())
}

const MINIMAL: &str = "[[application]]\nname = 'x'\ntenant = 'x'\nkey = { secret = 'x' }";

#[test]
fn a_public_key_does_not_verify_hs256() {
    let token = include_str!("../../../testdata/rs256_token.txt").trim();
    assert!(rs256().verify_at(token, NOW).is_ok(), "the genuine token must get in");

    let pem = include_bytes!("../../../testdata/rs256_public.pem");
    let forged = signed(&Header::default(), &claims(), &EncodingKey::from_secret(pem));
    assert_eq!(refused(&rs256(), &forged), AuthError::Algorithm);
    let trimmed = EncodingKey::from_secret(pem.trim_ascii());
    let forged = signed(&Header::default(), &claims(), &trimmed);
    assert_eq!(refused(&rs256(), &forged), AuthError::Algorithm);
}

#[test]
fn the_algorithm_none_is_refused_however_it_is_written() {
    let claims = claims().to_string();
    for name in ["none", "None", "NONE", "nOnE", ""] {
        let token = raw(&json!({"alg": name, "typ": "JWT"}).to_string(), &claims, "");
        assert_eq!(refused(&acme(""), &token), AuthError::Algorithm);
    }
    let (signed, _) = hs256(&super::claims())
        .rsplit_once('.')
        .map(|(m, s)| (m.to_owned(), s.to_owned()))
        .unwrap();
    assert_eq!(refused(&acme(""), &format!("{signed}.")), AuthError::Signature);
}

#[test]
fn another_hmac_than_the_pinned_one_is_refused() {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        let token = signed(&Header::new(algorithm), &claims(), &key);
        assert_eq!(refused(&acme(""), &token), AuthError::Algorithm);
    }
}

#[test]
fn a_header_that_lies_about_the_algorithm_is_refused() {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    for name in ["HS384", "RS256", "EdDSA"] {
        let message = raw(&json!({"alg": name}).to_string(), &claims().to_string(), "");
        let message = message.trim_end_matches('.');
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        assert_eq!(refused(&acme(""), &format!("{message}.{signature}")), AuthError::Algorithm);
    }
}

#[test]
fn expiry_has_no_leeway() {
    let acme = acme("");
    assert!(check(&acme, &with("exp", json!(NOW + 1))).is_ok());
    assert_eq!(check(&acme, &with("exp", json!(NOW))), Err(AuthError::Expired));
    assert_eq!(check(&acme, &with("exp", json!(NOW - 1))), Err(AuthError::Expired));
    assert_eq!(check(&acme, &with("exp", Value::Null)), Err(AuthError::Claim("exp")));
    assert!(check(&acme, &with("exp", json!("4102444800"))).is_err());
}

#[test]
fn a_token_may_begin_a_minute_ahead_and_no_more() {
    let acme = acme("");
    assert!(check(&acme, &with("nbf", json!(NOW + 60))).is_ok());
    assert_eq!(check(&acme, &with("nbf", json!(NOW + 61))), Err(AuthError::NotYet));
}

#[test]
fn another_audience_or_issuer_is_refused() {
    let acme = acme("issuer = 'https://id.example.com'\naudience = 'throughline'");
    let mut good = with("aud", json!(["other", "throughline"]));
    good["iss"] = json!("https://id.example.com");
    assert!(check(&acme, &good).is_ok());

    let mut other = good.clone();
    other["aud"] = json!("another");
    assert_eq!(check(&acme, &other), Err(AuthError::Audience));
    other.as_object_mut().unwrap().remove("aud");
    assert_eq!(check(&acme, &other), Err(AuthError::Audience));

    for issuer in [json!("https://id.example.com.evil.org"), Value::Null] {
        let mut claims = good.clone();
        claims["iss"] = issuer;
        assert_eq!(check(&acme, &claims), Err(AuthError::Signature));
    }
}

#[test]
fn other_kinds_of_jwt_and_unknown_demands_are_refused() {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let header = Header { typ: Some("logout+jwt".into()), ..Header::default() };
    assert_eq!(refused(&acme(""), &signed(&header, &claims(), &key)), AuthError::Malformed);
    let header = Header { typ: None, ..Header::default() };
    assert!(acme("").verify_at(&signed(&header, &claims(), &key), NOW).is_ok());

    let header = json!({"alg": "HS256", "crit": ["exp"]}).to_string();
    assert_eq!(refused(&acme(""), &raw(&header, &claims().to_string(), "x")), AuthError::Malformed);
}

#[test]
fn a_key_brought_along_is_not_looked_at() {
    let jwk = json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode("mine")});
    let header =
        json!({"alg": "HS256", "jwk": jwk, "jku": "https://evil.example/keys"}).to_string();
    let unsigned = raw(&header, &claims().to_string(), "");
    let message = unsigned.trim_end_matches('.');
    let mine = EncodingKey::from_secret(b"mine");
    let signature =
        jsonwebtoken::crypto::sign(message.as_bytes(), &mine, Algorithm::HS256).unwrap();
    assert_eq!(refused(&acme(""), &format!("{message}.{signature}")), AuthError::Signature);
}

#[test]
fn a_changed_token_is_refused_wherever_it_was_changed() {
    let (acme, token) = (acme(""), hs256(&claims()));
    for at in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(acme.verify_at(&changed, NOW).is_err(), "changed at {at}");
    }
}

#[test]
fn huge_tokens_and_garbage_are_refused_without_a_panic() {
    let acme = acme("");
    let huge = hs256(&with("email", json!("x".repeat(9_000))));
    assert_eq!(refused(&acme, &huge), AuthError::TooLong);
    for text in ["", ".", "..", "...", "a.b.c", "é.é.é", "eyJ.eyJ.", "null", "\0\0.\0.\0"] {
        assert_eq!(refused(&acme, text), AuthError::Malformed);
    }
    let deep = format!("{}{}", "[".repeat(3_000), "]".repeat(3_000));
    assert_eq!(refused(&acme, &raw(r#"{"alg":"HS256"}"#, &deep, "x")), AuthError::Malformed);
    for length in 0..400 {
        let bytes: Vec<u8> = (0..length).map(|_| ids::random_bytes::<1>()[0] % 95 + 32).collect();
        assert!(acme.verify_at(&String::from_utf8(bytes).unwrap(), NOW).is_err());
    }
}

#[test]
fn a_user_that_could_share_the_channel_of_another_is_refused() {
    let acme = acme("");
    for user in
        [json!(""), json!("a%20b"), json!("a\nb"), json!("x".repeat(300)), json!({}), json!(true)]
    {
        assert_eq!(check(&acme, &with("sub", user)), Err(AuthError::Claim("sub")));
    }
    assert!(check(&acme, &with("sub", json!("Ann O'Neill|9@x.org"))).is_ok());
}

#[test]
fn a_claim_that_is_there_twice_is_refused() {
    let claims = format!(r#"{{"sub":"7","sub":"8","exp":{}}}"#, NOW + 60);
    let message = raw(r#"{"alg":"HS256"}"#, &claims, "");
    let message = message.trim_end_matches('.');
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    assert_eq!(refused(&acme(""), &format!("{message}.{signature}")), AuthError::Malformed);
}

use proptest::prelude::*;

use super::*;

/// The example of the provider's documentation and libraries.
const TOKEN: &str = "12345";
const URL: &str = "https://mycompany.com/myapp.php?foo=1&bar=2";
const FORM: &[u8] = b"Digits=1234&To=%2B18005551212&From=%2B14158675309&Caller=%2B14158675309&CallSid=CA1234567890ABCDE";
const SIGNATURE: &str = "RSOYDt4T1cUTdK1PDd93/VVr8B8=";
const JSON: &[u8] = br#"{"property": "value", "boolean": true}"#;
const JSON_HASH: &str = "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620";
const JSON_SIGNATURE: &str = "a9nBmqA0ju/hNViExpshrM61xv4=";

fn check(url: &str, signature: &str, body: &[u8]) -> Result<(), Reason> {
    verify(&["rotated in", TOKEN], url, Some(signature), body)
}

#[test]
fn the_documented_form_is_believed() {
    assert_eq!(sign_form(TOKEN.as_bytes(), URL, FORM), SIGNATURE);
    assert_eq!(check(URL, SIGNATURE, FORM), Ok(()));
}

#[test]
fn the_documented_json_body_is_believed() {
    let (url, signature) = sign_json(TOKEN.as_bytes(), URL, JSON);
    assert_eq!(url, format!("{URL}&bodySHA256={JSON_HASH}"));
    assert_eq!(signature, JSON_SIGNATURE);
    assert_eq!(check(&url, JSON_SIGNATURE, JSON), Ok(()));
    assert_eq!(check(&url, JSON_SIGNATURE, b"{}"), Err(Reason::Mismatch));
}

#[test]
fn a_port_may_be_there_or_not() {
    assert_eq!(check(&URL.replace(".com", ".com:1234"), SIGNATURE, FORM), Ok(()));
    assert_eq!(check(URL, "kvajT1Ptam85bY51eRf/AJRuM3w=", FORM), Ok(()));
    let plain = URL.replace("https", "http");
    assert_eq!(check(&plain, "0ZXoZLH/DfblKGATFgpif+LLRf4=", FORM), Ok(()));
}

#[test]
fn userinfo_and_addresses_keep_their_colons() {
    let of = |url: &str| variants(url).collect::<Vec<_>>();
    assert_eq!(of("https://a:b@h/p"), ["https://a:b@h/p", "https://a:b@h:443/p"]);
    assert_eq!(of("https://a:b@h:8443/p"), ["https://a:b@h/p", "https://a:b@h:8443/p"]);
    assert_eq!(of("http://[::1]/"), ["http://[::1]/", "http://[::1]:80/"]);
    assert_eq!(of("http://[::1]:8090/"), ["http://[::1]/", "http://[::1]:8090/"]);
}

#[test]
fn a_query_may_be_written_the_older_way() {
    let url = "https://mycompany.com/hook?who=Jo's+(%E2%82%AC)&x";
    let legacy = "https://mycompany.com/hook?who=Jo's%20(%E2%82%AC)&x=";
    assert_eq!(check(url, &sign_form(TOKEN.as_bytes(), legacy, FORM), FORM), Ok(()));
}

#[test]
fn the_fragment_is_not_signed() {
    assert_eq!(check(&format!("{URL}#rc=2"), SIGNATURE, FORM), Ok(()));
    assert_eq!(sign_form(TOKEN.as_bytes(), &format!("{URL}#rc=2"), FORM), SIGNATURE);
}

#[test]
fn repeated_parameters_count_once_each_in_order() {
    assert_eq!(parameters(b"b=2&a=z&a=y&a=z"), "ayazb2");
    assert_eq!(parameters(b"To=%2B1+2&Empty="), "EmptyTo+1 2");
}

#[test]
fn a_get_is_signed_by_its_url_alone() {
    let signature = sign_form(TOKEN.as_bytes(), URL, b"");
    assert_eq!(check(URL, &signature, b""), Ok(()));
    assert_eq!(check(URL, &signature, b"x=1"), Err(Reason::Mismatch));
}

#[test]
fn every_reason_is_told_apart() {
    assert_eq!(verify(&[TOKEN], URL, None, FORM), Err(Reason::Missing));
    assert_eq!(check(URL, "not base64", FORM), Err(Reason::Malformed));
    assert_eq!(check(URL, "AAAA", FORM), Err(Reason::Malformed));
    assert_eq!(check(URL, SIGNATURE, b"Digits=1"), Err(Reason::Mismatch));
    assert_eq!(verify(&["other"], URL, Some(SIGNATURE), FORM), Err(Reason::Mismatch));
    let other_origin = URL.replace("mycompany", "evil");
    assert_eq!(check(&other_origin, SIGNATURE, FORM), Err(Reason::Mismatch));
}

proptest! {
    #[test]
    fn anything_is_answered(url in ".{0,80}", signature in ".{0,40}", body: Vec<u8>) {
        prop_assert!(check(&url, &signature, &body).is_err());
        let absolute = ["https://", &url].concat();
        prop_assert!(check(&absolute, SIGNATURE, &body).is_err());
    }

    #[test]
    fn what_is_signed_is_believed(body in "[ -~]{0,80}") {
        let signature = sign_form(TOKEN.as_bytes(), URL, body.as_bytes());
        prop_assert_eq!(check(URL, &signature, body.as_bytes()), Ok(()));
    }
}

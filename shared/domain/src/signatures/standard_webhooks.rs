//! Standard Webhooks 1.0.0, symmetric signatures (`v1`). Asymmetric ones (`v1a`) are ignored, as the
//! specification allows; a request with nothing else does not match.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use time::OffsetDateTime;

use super::{Reason, any_match, hmac_sha256, present};

pub const ID_HEADER: &str = "webhook-id";
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
pub const SIGNATURE_HEADER: &str = "webhook-signature";

const TOLERANCE_SECONDS: i64 = 300;
/// More signatures than any rotation needs are not looked at.
const MAX_SIGNATURES: usize = 16;
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A decoded `whsec_` secret.
#[derive(Clone)]
pub struct Key(Vec<u8>);

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("is not whsec_ and the base64 of 24 to 64 bytes")]
pub struct InvalidKey;

impl Key {
    pub fn parse(secret: &str) -> Result<Self, InvalidKey> {
        let text = secret.strip_prefix("whsec_").unwrap_or(secret);
        let key = LENIENT.decode(text).map_err(|_| InvalidKey)?;
        if (24..=64).contains(&key.len()) { Ok(Self(key)) } else { Err(InvalidKey) }
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The three headers of a request.
#[derive(Clone, Copy, Default)]
pub struct Headers<'a> {
    pub id: Option<&'a str>,
    pub timestamp: Option<&'a str>,
    pub signature: Option<&'a str>,
}

pub fn verify(
    keys: &[Key],
    headers: Headers<'_>,
    body: &[u8],
    now: OffsetDateTime,
) -> Result<(), Reason> {
    let (id, timestamp) = (present(headers.id)?, present(headers.timestamp)?);
    let at: i64 = timestamp.parse().map_err(|_| Reason::Malformed)?;
    let given: Vec<&str> = present(headers.signature)?
        .split(' ')
        .filter_map(|signature| signature.strip_prefix("v1,"))
        .take(MAX_SIGNATURES)
        .collect();
    if given.is_empty() {
        return Err(Reason::Malformed);
    }
    any_match(keys, &given, |key| mac(key, id, timestamp, body).into_bytes())?;
    let age = now.unix_timestamp().saturating_sub(at);
    if age.abs() <= TOLERANCE_SECONDS { Ok(()) } else { Err(Reason::Stale) }
}

/// The values of `webhook-timestamp` and `webhook-signature`.
pub fn sign(key: &Key, id: &str, body: &[u8], now: OffsetDateTime) -> (String, String) {
    let timestamp = now.unix_timestamp().to_string();
    let signature = format!("v1,{}", mac(&key.0, id, &timestamp, body));
    (timestamp, signature)
}

fn mac(key: &[u8], id: &str, timestamp: &str, body: &[u8]) -> String {
    let parts = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
    STANDARD.encode(hmac_sha256(key, &parts))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example of the reference libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_614_265_330 + seconds).unwrap()
    }

    fn key() -> Key {
        Key::parse(SECRET).unwrap()
    }

    fn check(signature: &str, seconds: i64) -> Result<(), Reason> {
        let headers =
            Headers { id: Some(ID), timestamp: Some("1614265330"), signature: Some(signature) };
        verify(&[key()], headers, BODY, at(seconds))
    }

    #[test]
    fn the_documented_example_is_believed() {
        assert_eq!(sign(&key(), ID, BODY, at(0)), ("1614265330".into(), SIGNATURE.into()));
        assert_eq!(check(SIGNATURE, 0), Ok(()));
    }

    #[test]
    fn any_of_several_signatures_passes() {
        let several = format!(
            "v1,AAAA v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg== {SIGNATURE} v2,x"
        );
        assert_eq!(check(&several, 0), Ok(()));
        assert_eq!(check("v1a,AAAA", 0), Err(Reason::Malformed));
    }

    #[test]
    fn five_minutes_either_way_are_tolerated() {
        for (seconds, expected) in
            [(300, Ok(())), (-300, Ok(())), (301, Err(Reason::Stale)), (-301, Err(Reason::Stale))]
        {
            assert_eq!(check(SIGNATURE, seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn every_other_reason_is_told_apart() {
        assert_eq!(check("v1,AAAA", 0), Err(Reason::Mismatch));
        assert_eq!(verify(&[key()], Headers::default(), BODY, at(0)), Err(Reason::Missing));
        let headers = Headers { id: Some(ID), timestamp: Some("now"), signature: Some(SIGNATURE) };
        assert_eq!(verify(&[key()], headers, BODY, at(0)), Err(Reason::Malformed));
    }

    #[test]
    fn two_keys_hold_while_rotating() {
        let new = Key::parse("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
        let headers =
            Headers { id: Some(ID), timestamp: Some("1614265330"), signature: Some(SIGNATURE) };
        assert_eq!(verify(&[new, key()], headers, BODY, at(0)), Ok(()));
    }

    #[test]
    fn short_and_unreadable_secrets_are_refused() {
        for bad in ["whsec_", "whsec_AAAA", "whsec_!!", ""] {
            assert!(Key::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_headers_are_answered(id in ".{0,50}", time in ".{0,20}", signature in ".{0,80}", body: Vec<u8>) {
            let headers = Headers { id: Some(&id), timestamp: Some(&time), signature: Some(&signature) };
            prop_assert!(verify(&[key()], headers, &body, at(0)).is_err());
        }
    }
}

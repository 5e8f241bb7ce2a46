//! `ElevenLabs-Signature: t=<unix seconds>,v0=<hex HMAC-SHA256(secret, "<t>.<body>")>`; the secret is used as text.

use time::OffsetDateTime;

use super::{Reason, any_match, hex, hmac_sha256, present};

pub const HEADER: &str = "elevenlabs-signature";
/// What the provider's own library allows.
const MAX_AGE_SECONDS: i64 = 30 * 60;
const MAX_SKEW_SECONDS: i64 = 5 * 60;
/// More signatures than any rotation needs are not looked at.
const MAX_SIGNATURES: usize = 8;

pub fn verify<S: AsRef<[u8]>>(
    secrets: &[S],
    signature: Option<&str>,
    body: &[u8],
    now: OffsetDateTime,
) -> Result<(), Reason> {
    let header = Header::parse(present(signature)?)?;
    header.check(secrets, |secret| mac(secret, header.timestamp, body), now)
}

/// The header's value for a body.
pub fn sign(secret: &[u8], body: &[u8], now: OffsetDateTime) -> String {
    let timestamp = now.unix_timestamp().to_string();
    format!("t={timestamp},v0={}", mac(secret, &timestamp, body))
}

/// For a body that is too large to hold: read the header before it, make its MACs while it streams by
/// (over the timestamp, a dot and the body), check afterwards.
pub struct Header<'a> {
    /// As written, because the MAC covers it as text.
    pub timestamp: &'a str,
    signed_at: i64,
    signatures: Vec<String>,
}

impl<'a> Header<'a> {
    pub fn parse(text: &'a str) -> Result<Self, Reason> {
        let fields = || text.split(',').filter_map(|field| field.trim().split_once('='));
        let timestamp = fields().find(|(name, _)| *name == "t").ok_or(Reason::Malformed)?.1;
        let signed_at = timestamp.parse().map_err(|_| Reason::Malformed)?;
        let signatures: Vec<_> = fields()
            .filter(|(name, _)| *name == "v0")
            .map(|(_, value)| value.to_ascii_lowercase())
            .take(MAX_SIGNATURES)
            .collect();
        if signatures.is_empty() {
            return Err(Reason::Malformed);
        }
        Ok(Self { timestamp, signed_at, signatures })
    }

    /// `mac` gives the hexadecimal HMAC by a secret.
    pub fn check<S: AsRef<[u8]>>(
        &self,
        secrets: &[S],
        mac: impl Fn(&[u8]) -> String,
        now: OffsetDateTime,
    ) -> Result<(), Reason> {
        any_match(secrets, &self.signatures, |secret| mac(secret).into_bytes())?;
        // Judged after the MAC: only what was really signed can be stale.
        let age = now.unix_timestamp().saturating_sub(self.signed_at);
        if (-MAX_SKEW_SECONDS..=MAX_AGE_SECONDS).contains(&age) {
            Ok(())
        } else {
            Err(Reason::Stale)
        }
    }
}

fn mac(secret: &[u8], timestamp: &str, body: &[u8]) -> String {
    hex(&hmac_sha256(secret, &[timestamp.as_bytes(), b".", body]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "wsec_0123456789";
    const BODY: &[u8] = br#"{"type":"post_call_transcription"}"#;

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_739_537_297 + seconds).unwrap()
    }

    #[test]
    fn a_signed_body_is_believed_for_half_an_hour() {
        let signature = sign(SECRET.as_bytes(), BODY, at(0));
        let verify = |seconds| verify(&["newest", SECRET], Some(&signature), BODY, at(seconds));
        assert_eq!(verify(0), Ok(()));
        assert_eq!(verify(1800), Ok(()));
        assert_eq!(verify(1801), Err(Reason::Stale));
        assert_eq!(verify(-300), Ok(()));
        assert_eq!(verify(-301), Err(Reason::Stale));
    }

    #[test]
    fn every_reason_is_told_apart() {
        let signature = sign(SECRET.as_bytes(), BODY, at(0));
        let verify = |header| verify(&[SECRET], header, BODY, at(0));
        assert_eq!(verify(None), Err(Reason::Missing));
        assert_eq!(verify(Some("v0=00")), Err(Reason::Malformed));
        assert_eq!(verify(Some("t=1739537297")), Err(Reason::Malformed));
        assert_eq!(verify(Some("t=soon,v0=00")), Err(Reason::Malformed));
        assert_eq!(verify(Some("t=1739537297,v0=00")), Err(Reason::Mismatch));
        let later = signature.replace("t=1739537297", "t=1739537298");
        assert_eq!(verify(Some(&later)), Err(Reason::Mismatch));
    }

    #[test]
    fn the_mac_is_over_timestamp_dot_body() {
        // echo -n '1739537297.{"type":"post_call_transcription"}' | openssl dgst -sha256 -hmac wsec_0123456789
        let expected = "6dbe0e2c2fde7fdc4b50066b37457bdf6a2012e066e9e740754c6700f35cb147";
        assert_eq!(sign(SECRET.as_bytes(), BODY, at(0)), format!("t=1739537297,v0={expected}"));
    }

    proptest! {
        #[test]
        fn any_header_is_answered(header in ".{0,100}", body: Vec<u8>) {
            prop_assert!(verify(&[SECRET], Some(&header), &body, at(0)).is_err());
        }
    }
}

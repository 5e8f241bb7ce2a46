//! Whether a webhook comes from who it says. Pure: the request's parts and the present time are arguments.

use std::net::IpAddr;

use domain::signatures::{
    Reason, constant_time_eq, elevenlabs, standard_webhooks, twilio, whatsapp,
};
use http::HeaderMap;
use runtime::config::Secret;
use time::OffsetDateTime;

use crate::sources::{Provider, Source};

/// What a proof may rest on, besides the body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    pub headers: &'a HeaderMap,
    /// Path and query as they were requested.
    pub path_and_query: &'a str,
    /// The last segment of the path, where the sender signs nothing.
    pub path_secret: Option<&'a str>,
    pub peer: Option<IpAddr>,
}

impl<'a> Claim<'a> {
    fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Checks a whole body.
pub(crate) fn verify(
    source: &Source,
    claim: &Claim<'_>,
    body: &[u8],
    now: OffsetDateTime,
) -> Result<(), Reason> {
    let secrets: Vec<&str> = source.secrets.iter().map(Secret::expose).collect();
    match source.provider {
        Provider::Twilio => {
            let url = format!("{}{}", source.public_url, claim.path_and_query);
            twilio::verify(&secrets, &url, claim.header(twilio::HEADER), body)
        }
        Provider::ElevenLabs => {
            elevenlabs::verify(&secrets, claim.header(elevenlabs::HEADER), body, now)
        }
        Provider::WhatsApp => whatsapp::verify(&secrets, claim.header(whatsapp::HEADER), body),
        Provider::Standard => {
            // The file was refused if one of them could not be read.
            let keys: Vec<_> = secrets
                .iter()
                .filter_map(|secret| standard_webhooks::Key::parse(secret).ok())
                .collect();
            let headers = standard_webhooks::Headers {
                id: claim.header(standard_webhooks::ID_HEADER),
                timestamp: claim.header(standard_webhooks::TIMESTAMP_HEADER),
                signature: claim.header(standard_webhooks::SIGNATURE_HEADER),
            };
            standard_webhooks::verify(&keys, headers, body, now)
        }
        Provider::CallerDesk => path_secret(source, claim),
    }
}

/// A sender that signs nothing: by the secret in its path, or by the network it comes from.
fn path_secret(source: &Source, claim: &Claim<'_>) -> Result<(), Reason> {
    let from = |peer: IpAddr| source.allow_from.iter().any(|network| network.contains(peer));
    match claim.path_secret {
        Some(given) if is_secret(source, given) => Ok(()),
        Some(_) => Err(Reason::Mismatch),
        None if claim.peer.is_some_and(from) => Ok(()),
        None => Err(Reason::Missing),
    }
}

fn is_secret(source: &Source, given: &str) -> bool {
    let equal = |secret: &Secret| constant_time_eq(secret.expose().as_bytes(), given.as_bytes());
    source.secrets.iter().fold(false, |found, secret| found | equal(secret))
}

/// WhatsApp's challenge: its answer, if the asker knows the token.
pub(crate) fn challenge<'a>(
    source: &Source,
    mode: &str,
    token: &str,
    challenge: &'a str,
) -> Option<&'a str> {
    let expected = source.verify_token.as_ref()?;
    let known = constant_time_eq(expected.expose().as_bytes(), token.as_bytes());
    (known && mode == "subscribe").then_some(challenge)
}

#[cfg(test)]
mod tests {
    use crate::sources::Sources;

    use super::*;

    fn source(keys: &str) -> std::sync::Arc<Source> {
        let text = format!("[[source]]\nname = 's'\ntenant = 't'\n{keys}");
        let none = |_: &str| Err(std::io::Error::other("no"));
        Sources::parse(&text, &none).unwrap().named("s").unwrap().clone()
    }

    fn desk(claimed: Option<&str>, peer: &str, keys: &str) -> Result<(), Reason> {
        let headers = HeaderMap::new();
        let peer = Some(peer.parse().unwrap());
        let claim = Claim { headers: &headers, path_and_query: "/", path_secret: claimed, peer };
        let source = source(&format!("provider = 'callerdesk'\n{keys}"));
        verify(&source, &claim, b"{}", OffsetDateTime::UNIX_EPOCH)
    }

    #[test]
    fn a_sender_without_signature_needs_its_secret_or_its_network() {
        let both = "secrets = ['one', 'two']\nallow_from = ['10.0.0.0/8']";
        assert_eq!(desk(Some("two"), "1.2.3.4", both), Ok(()));
        assert_eq!(desk(Some("on"), "1.2.3.4", both), Err(Reason::Mismatch));
        assert_eq!(desk(Some("wrong"), "10.0.0.1", both), Err(Reason::Mismatch));
        assert_eq!(desk(None, "10.0.0.1", both), Ok(()));
        assert_eq!(desk(None, "1.2.3.4", both), Err(Reason::Missing));
        assert_eq!(desk(None, "10.0.0.1", "secrets = ['one']"), Err(Reason::Missing));
    }

    #[test]
    fn twilio_signs_the_configured_origin_whatever_the_request_says() {
        let source = source(
            "provider = 'twilio'\nsecrets = ['old', 'new']\npublic_url = 'https://hooks.example.com'",
        );
        let path = "/webhooks/s/call-status?x=1";
        let mut headers = HeaderMap::new();
        headers.insert("host", "evil.example.com".parse().unwrap());
        let url = format!("https://hooks.example.com{path}");
        let signature = twilio::sign_form(b"new", &url, b"CallSid=CA1");
        headers.insert(twilio::HEADER, signature.parse().unwrap());
        let check = |path_and_query: &str, body: &[u8]| {
            let claim = Claim { headers: &headers, path_and_query, path_secret: None, peer: None };
            verify(&source, &claim, body, OffsetDateTime::UNIX_EPOCH)
        };
        assert_eq!(check(path, b"CallSid=CA1"), Ok(()));
        assert_eq!(check(path, b"CallSid=CA2"), Err(Reason::Mismatch));
        assert_eq!(check("/other", b"CallSid=CA1"), Err(Reason::Mismatch));
    }

    #[test]
    fn the_challenge_is_answered_to_who_knows_the_token() {
        let keys = "provider = 'whatsapp'\nsecrets = ['s']\nverify_token = 'v'";
        assert_eq!(challenge(&source(keys), "subscribe", "v", "42"), Some("42"));
        assert_eq!(challenge(&source(keys), "subscribe", "w", "42"), None);
        assert_eq!(challenge(&source(keys), "unsubscribe", "v", "42"), None);
    }
}

//! Webhooks made before the clock runs: each a call of its own, signed as Twilio signs. What differs between two of
//! them has a fixed length, so a sender keeps one request and writes the next call's id and signature into it.

use crate::bench::http1;
use crate::failure::Failure;
use crate::simulate::Signed;
use crate::sources::Sources;

/// `CA` and 32 hexadecimal digits.
const SID: usize = 34;
/// Base64 of an HMAC-SHA1.
const SIGNATURE: usize = 28;

/// One connection's requests, in their order.
pub(super) struct Prepared {
    sender: usize,
    request: Vec<u8>,
    sid_at: usize,
    signature_at: usize,
    signatures: Vec<[u8; SIGNATURE]>,
}

impl Prepared {
    pub(super) fn new(sender: usize, count: usize, sources: &Sources) -> Result<Self, Failure> {
        let signed = Signed::twilio("call-status", &fields(&sid(sender, 0)), sources)?;
        let first = signature(&signed)?;
        let headers: String =
            signed.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let line = format!("POST {}", signed.path);
        let request = http1::request(&line, &headers, &signed.body);
        let sid_at = find(&request, sid(sender, 0).as_bytes())?;
        let signature_at = find(&request, &first)?;
        let signatures = (0..count)
            .map(|number| {
                signature(&Signed::twilio("call-status", &fields(&sid(sender, number)), sources)?)
            })
            .collect::<Result<_, Failure>>()?;
        Ok(Self { sender, request, sid_at, signature_at, signatures })
    }

    pub(super) fn len(&self) -> usize {
        self.signatures.len()
    }

    /// The request of this number; `None` when no more are prepared.
    pub(super) fn request(&mut self, number: usize) -> Option<&[u8]> {
        let signature = self.signatures.get(number)?;
        self.request[self.signature_at..self.signature_at + SIGNATURE].copy_from_slice(signature);
        let sid = sid(self.sender, number);
        self.request[self.sid_at..self.sid_at + SID].copy_from_slice(sid.as_bytes());
        Some(&self.request)
    }
}

fn find(request: &[u8], part: &[u8]) -> Result<usize, Failure> {
    request
        .windows(part.len())
        .position(|window| window == part)
        .ok_or_else(|| Failure::Failed("a webhook without its call's id or signature".to_owned()))
}

fn signature(signed: &Signed) -> Result<[u8; SIGNATURE], Failure> {
    let header = signed.headers.iter().find(|(name, _)| *name != "content-type");
    header
        .and_then(|(_, value)| value.as_bytes().try_into().ok())
        .ok_or_else(|| Failure::Failed("a webhook's signature is not 28 characters".to_owned()))
}

fn sid(sender: usize, number: usize) -> String {
    format!("CA{sender:08x}{number:024x}")
}

/// A call of its own for every request, so that none is a duplicate.
fn fields(sid: &str) -> Vec<(&'static str, String)> {
    vec![
        ("CallSid", sid.to_owned()),
        ("AccountSid", format!("AC{}", "0".repeat(32))),
        ("From", "+15005550006".to_owned()),
        ("To", "+14155551212".to_owned()),
        ("Direction", "outbound-api".to_owned()),
        ("ApiVersion", "2010-04-01".to_owned()),
        ("CallStatus", "ringing".to_owned()),
        ("CallbackSource", "call-progress-events".to_owned()),
        ("SequenceNumber", "1".to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use domain::signatures::twilio;

    use super::*;

    #[test]
    fn each_prepared_request_is_signed_for_its_own_call() {
        let text = "[[source]]\nname = 's'\nprovider = 'twilio'\nsecrets = ['k']\npublic_url = 'https://h'";
        let sources: Sources = toml::from_str(text).unwrap();
        let mut prepared = Prepared::new(7, 3, &sources).unwrap();
        for number in [0, 2, 1] {
            let request = prepared.request(number).unwrap();
            let text = std::str::from_utf8(request).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(body.contains(&sid(7, number)));
            let signature = head.lines().find_map(|line| line.strip_prefix("x-twilio-signature: "));
            let url = "https://h/webhooks/s/call-status";
            assert_eq!(twilio::verify(&["k"], url, signature, body.as_bytes()), Ok(()));
        }
        assert_eq!(prepared.request(3), None);
    }
}

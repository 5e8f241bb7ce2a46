//! Proofs that a webhook's raw bytes come from who they say: checked in constant time, and made
//! (for outgoing webhooks, the simulator and tests).
//! Nothing here knows HTTP or a clock: header values and the present time are arguments.

pub mod elevenlabs;
pub mod standard_webhooks;
pub mod twilio;
pub mod whatsapp;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Why a request is not believed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Reason {
    #[error("the signature is missing")]
    Missing,
    #[error("the signature cannot be read")]
    Malformed,
    #[error("the signature is too old or from the future")]
    Stale,
    #[error("the signature does not match")]
    Mismatch,
}

/// Compares secrets without telling by its duration where they differ; only their lengths may show.
pub fn constant_time_eq(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}

/// A key of any length as HMAC's block, so that making the MAC cannot fail.
fn block(key: &[u8], digest: impl Fn(&[u8]) -> Vec<u8>) -> [u8; 64] {
    let mut block = [0; 64];
    let hashed;
    let key = if key.len() > block.len() {
        hashed = digest(key);
        &hashed
    } else {
        key
    };
    block[..key.len()].copy_from_slice(key);
    block
}

fn keyed_sha256(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new(&block(key, |key| Sha256::digest(key).to_vec()).into())
}

fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = keyed_sha256(key);
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

fn hmac_sha1(key: &[u8], parts: &[&[u8]]) -> [u8; 20] {
    let block = block(key, |key| Sha1::digest(key).to_vec());
    let mut mac = Hmac::<Sha1>::new(&block.into());
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Whether any secret's MAC equals any of the given ones; every comparison is made.
fn any_match<S: AsRef<[u8]>>(
    secrets: &[S],
    given: &[impl AsRef<[u8]>],
    mac: impl Fn(&[u8]) -> Vec<u8>,
) -> Result<(), Reason> {
    let mut matched = false;
    for secret in secrets {
        let expected = mac(secret.as_ref());
        for given in given {
            matched |= constant_time_eq(&expected, given.as_ref());
        }
    }
    if matched { Ok(()) } else { Err(Reason::Mismatch) }
}

/// A header that must be there.
fn present(header: Option<&str>) -> Result<&str, Reason> {
    header.map(str::trim).filter(|text| !text.is_empty()).ok_or(Reason::Missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_macs_are_those_of_rfc_2202_and_4231() {
        let message: &[u8] = b"what do ya want for nothing?";
        let sha1 = "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79";
        let sha256 = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex(&hmac_sha1(b"Jefe", &[message])), sha1);
        assert_eq!(hex(&hmac_sha256(b"Jefe", &[message])), sha256);
        let long_key = [0xaa; 131];
        let message: &[u8] = b"Test Using Larger Than Block-Size Key - Hash Key First";
        let expected = "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54";
        assert_eq!(hex(&hmac_sha256(&long_key, &[message])), expected);
    }

    #[test]
    fn equal_secrets_only_are_equal() {
        assert!(constant_time_eq(b"abc", b"abc"));
        assert!(!constant_time_eq(b"abc", b"abd"));
        assert!(!constant_time_eq(b"abc", b"abcd"));
    }
}

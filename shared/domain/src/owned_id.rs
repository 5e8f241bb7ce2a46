//! Ids that show whose they are: minted for a caller's command, the same for every attempt of it, and recognised by
//! anybody who knows the caller. So a conversation's owner needs to be looked up nowhere, on no node and at no time.
//!
//! `c-<salt><proof>`: the salt comes from the caller and its command, the proof from the salt and the caller.
//! Whoever wants another's id to be its own would have to find a second preimage of 120 bits.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::token::Tenant;

const PREFIX: &str = "c-";
/// Bytes of each half; both become whole characters of base64.
const HALF: usize = 15;

/// `key` is [`crate::command::Command::key`]: it names the caller too.
pub fn mint(tenant: &Tenant, user: &str, key: &str) -> String {
    let salt = digest("throughline id", [tenant.as_str(), key]);
    format!("{PREFIX}{}{}", URL_SAFE_NO_PAD.encode(salt), proof(tenant, user, &salt))
}

/// Whether an id was minted for this caller.
pub fn belongs_to(id: &str, tenant: &Tenant, user: &str) -> bool {
    let Some((salt, shown)) = id.strip_prefix(PREFIX).and_then(halves) else { return false };
    proof(tenant, user, &salt) == shown
}

fn halves(text: &str) -> Option<([u8; HALF], &str)> {
    let (salt, proof) = text.split_at_checked(HALF / 3 * 4)?;
    let mut bytes = [0; HALF];
    let decoded = URL_SAFE_NO_PAD.decode_slice(salt, &mut bytes).ok()?;
    (decoded == HALF).then_some((bytes, proof))
}

fn proof(tenant: &Tenant, user: &str, salt: &[u8; HALF]) -> String {
    let salt = URL_SAFE_NO_PAD.encode(salt);
    URL_SAFE_NO_PAD.encode(digest("throughline owner", [tenant.as_str(), user, &salt]))
}

/// Every part with its length before it, so that no two lists of parts are the same bytes.
fn digest<const N: usize>(what: &str, parts: [&str; N]) -> [u8; HALF] {
    let mut digest = Sha256::new();
    for part in std::iter::once(what).chain(parts) {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let mut half = [0; HALF];
    half.copy_from_slice(&digest.finalize()[..HALF]);
    half
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Token;

    fn tenant(name: &str) -> Tenant {
        Tenant::parse(name).unwrap()
    }

    #[test]
    fn every_attempt_of_one_command_gets_the_same_id_and_another_command_another() {
        let acme = tenant("acme");
        assert_eq!(mint(&acme, "7", "7/k-1"), mint(&acme, "7", "7/k-1"));
        assert_ne!(mint(&acme, "7", "7/k-1"), mint(&acme, "7", "7/k-2"));
        assert_ne!(mint(&acme, "7", "7/k-1"), mint(&tenant("other"), "7", "7/k-1"));
    }

    #[test]
    fn an_id_is_recognised_as_its_owners_and_nobody_elses() {
        let acme = tenant("acme");
        let id = mint(&acme, "7", "7/k-1");
        assert!(belongs_to(&id, &acme, "7"));
        assert!(!belongs_to(&id, &acme, "8"));
        assert!(!belongs_to(&id, &tenant("other"), "7"));
        assert!(Token::parse(&id).is_ok(), "{id} is a token as it is");
    }

    #[test]
    fn an_id_that_was_changed_or_made_up_is_nobodys() {
        let acme = tenant("acme");
        let id = mint(&acme, "7", "7/k-1");
        for at in PREFIX.len()..id.len() {
            let mut changed = id.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(!belongs_to(&changed, &acme, "7"), "{changed}");
        }
        for made_up in ["", "c-", "c-9", "c-ééééééééééé", &format!("{id}A"), &id[..id.len() - 1]]
        {
            assert!(!belongs_to(made_up, &acme, "7"), "{made_up}");
        }
    }

    #[test]
    fn names_that_run_together_make_no_other_owner() {
        assert_ne!(mint(&tenant("ab"), "c", "x"), mint(&tenant("a"), "bc", "x"));
    }
}

//! Verifying keys. Each is bound to one algorithm when it is configured; a token never chooses.

use std::hash::{BuildHasher as _, RandomState};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde_json::Value;

const PRIVATE: &[u8] = b"PRIVATE KEY";
/// More keys than this in one set are not looked at.
const MOST_KEYS: usize = 64;

pub(super) struct Key {
    /// Names the key within this process, so that its removal is noticed.
    pub(super) id: u64,
    pub(super) algorithm: Algorithm,
    kid: Option<String>,
    decoding: DecodingKey,
}

/// Makes keys whose ids say nothing about them outside this process.
#[derive(Clone, Default)]
pub(super) struct KeyMaker(RandomState);

impl KeyMaker {
    pub(super) fn secret(&self, secret: &str) -> Key {
        self.key(
            secret.as_bytes(),
            Algorithm::HS256,
            None,
            DecodingKey::from_secret(secret.as_bytes()),
        )
    }

    /// A PEM public key: RS256, ES256, ES384 or EdDSA by its kind.
    pub(super) fn public(&self, pem: &[u8]) -> Option<Key> {
        // The decoder takes private keys too, and would then verify nothing; besides, none belongs here.
        if pem.windows(PRIVATE.len()).any(|text| text == PRIVATE) {
            return None;
        }
        let (algorithm, decoding) = if let Ok(key) = DecodingKey::from_rsa_pem(pem) {
            (Algorithm::RS256, key)
        } else if let Ok(key) = DecodingKey::from_ec_pem(pem) {
            // An uncompressed point: one byte and twice the size of the field.
            match key.try_get_as_bytes().ok()?.len() {
                65 => (Algorithm::ES256, key),
                97 => (Algorithm::ES384, key),
                _ => return None,
            }
        } else {
            (Algorithm::EdDSA, DecodingKey::from_ed_pem(pem).ok()?)
        };
        Some(self.key(pem, algorithm, None, decoding))
    }

    /// The keys of a set that can verify signatures; others (for encryption, of unknown kinds, symmetric) are passed over.
    pub(super) fn set(&self, body: &[u8]) -> Option<Vec<Key>> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let keys = body.get("keys")?.as_array()?;
        Some(keys.iter().take(MOST_KEYS).filter_map(|key| self.jwk(key)).collect())
    }

    fn jwk(&self, value: &Value) -> Option<Key> {
        let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
        if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
            return None;
        }
        let algorithm = algorithm(&jwk)?;
        let decoding = DecodingKey::from_jwk(&jwk).ok()?;
        if !algorithm_fits(algorithm, &decoding) {
            return None;
        }
        let material = value.to_string();
        Some(self.key(material.as_bytes(), algorithm, jwk.common.key_id, decoding))
    }

    fn key(
        &self,
        material: &[u8],
        algorithm: Algorithm,
        kid: Option<String>,
        decoding: DecodingKey,
    ) -> Key {
        // 0 means that no key verified it.
        let id = self.0.hash_one(material).max(1);
        Key { id, algorithm, kid, decoding }
    }
}

impl Key {
    /// A token's `kid` only chooses among the keys that are here; keys without one serve any.
    pub(super) fn serves(&self, algorithm: Algorithm, kid: Option<&str>) -> bool {
        self.algorithm == algorithm
            && match (&self.kid, kid) {
                (Some(own), Some(asked)) => own == asked,
                _ => true,
            }
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &str) -> bool {
        crypto::verify(signature, message, &self.decoding, self.algorithm).unwrap_or(false)
    }
}

/// What the set says, else what is usual for the kind. Symmetric keys have no place in a public set.
fn algorithm(jwk: &Jwk) -> Option<Algorithm> {
    if let Some(named) = jwk.common.key_algorithm {
        return Some(match named {
            KeyAlgorithm::RS256 => Algorithm::RS256,
            KeyAlgorithm::RS384 => Algorithm::RS384,
            KeyAlgorithm::RS512 => Algorithm::RS512,
            KeyAlgorithm::PS256 => Algorithm::PS256,
            KeyAlgorithm::PS384 => Algorithm::PS384,
            KeyAlgorithm::PS512 => Algorithm::PS512,
            KeyAlgorithm::ES256 => Algorithm::ES256,
            KeyAlgorithm::ES384 => Algorithm::ES384,
            KeyAlgorithm::EdDSA => Algorithm::EdDSA,
            _ => return None,
        });
    }
    match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Some(Algorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            Some(Algorithm::ES256)
        }
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => {
            Some(Algorithm::ES384)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            Some(Algorithm::EdDSA)
        }
        _ => None,
    }
}

fn algorithm_fits(algorithm: Algorithm, key: &DecodingKey) -> bool {
    key.family().algorithms().contains(&algorithm)
}

//! Personal data under lock: fields of events are sealed with a key of the person they are about, so that destroying
//! the key makes them unreadable everywhere while the log stays as it is.
//!
//! A sealed field is a string that names whose it is: `tl1.<kind>.<subject>.<nonce and ciphertext, base64url>`.
//! The person's key is kept wrapped by a key of the tenant, which follows from the platform's. AES-256-GCM throughout.
//! Nothing here knows where keys are kept; randomness is given.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce, UnboundKey};
use serde_json::Value;
use sha2::Sha256;

use crate::token::{EntityToken, Tenant, Token};

mod fields;
#[cfg(test)]
mod tests;

pub use fields::{
    Protection, holds_sealed, holds_sealed_besides, is_sealed, locked_in, open_json, open_value_of,
    seal_fields, sealed_for, subjects_in,
};

/// What a sealed field begins with; the number is the form's version.
const MARK: &str = "tl1.";
/// Nonce, tag and the shortest JSON there is, in base64url.
const SHORTEST: usize = ((NONCE_LEN + MAX_TAG_LEN + 1) * 4).div_ceil(3);
/// What stands in the place of a field whose key has been destroyed.
pub const ERASED: &str = "[erased]";

/// Random bytes that are used once.
pub type Once = [u8; NONCE_LEN];

/// Whose data something is: a user or a contact of a tenant.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Subject {
    pub tenant: Tenant,
    /// `user`, `contact`.
    pub kind: Token,
    pub id: EntityToken,
}

impl Subject {
    pub fn new(tenant: &Tenant, kind: &Token, id: &str) -> Self {
        Self { tenant: tenant.clone(), kind: kind.clone(), id: EntityToken::from_external(id) }
    }

    /// Where its wrapped key is kept.
    pub fn key_name(&self) -> String {
        format!("{}.{}.{}", self.tenant, self.kind, self.id)
    }

    /// The subject that a key is kept for.
    pub fn of_key_name(name: &str) -> Option<Self> {
        let mut parts = name.split('.');
        let subject = Self {
            tenant: Tenant::parse(parts.next()?).ok()?,
            kind: Token::parse(parts.next()?).ok()?,
            id: EntityToken::parse(parts.next()?).ok()?,
        };
        parts.next().is_none().then_some(subject)
    }

    /// What a ciphertext is bound to, so that it cannot be moved to another person.
    fn bound(&self) -> Aad<String> {
        Aad::from(self.key_name())
    }
}

/// The key of one person's data.
#[derive(Clone, PartialEq, Eq)]
pub struct DataKey([u8; 32]);

/// Never the key.
impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey")
    }
}

impl DataKey {
    pub const fn new(random: [u8; 32]) -> Self {
        Self(random)
    }
}

/// Why something sealed cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Locked {
    #[error("its key has been destroyed")]
    Erased,
    #[error("it was changed, or sealed with another key")]
    Broken,
}

/// Wraps people's keys with the newest platform key and unwraps them with it or the one before.
#[derive(Clone)]
pub struct WrappingKeys {
    newest: Vec<u8>,
    previous: Option<Vec<u8>>,
}

impl WrappingKeys {
    pub fn new(platform_key: &[u8], previous: Option<&[u8]>) -> Self {
        Self { newest: platform_key.to_vec(), previous: previous.map(<[u8]>::to_vec) }
    }

    /// A person's key as it may be kept.
    pub fn wrap(&self, subject: &Subject, key: &DataKey, once: Once) -> Vec<u8> {
        encrypt(&tenant_key(&self.newest, &subject.tenant), subject, &key.0, once)
    }

    /// A person's key as it is to be kept instead; `None` where the newest platform key wraps it already.
    pub fn rewrap(
        &self,
        subject: &Subject,
        wrapped: &[u8],
        once: Once,
    ) -> Result<Option<Vec<u8>>, Locked> {
        if decrypt(&tenant_key(&self.newest, &subject.tenant), subject, wrapped).is_ok() {
            return Ok(None);
        }
        Ok(Some(self.wrap(subject, &self.unwrap(subject, wrapped)?, once)))
    }

    /// Whether a platform key has taken another's place.
    pub const fn are_rotating(&self) -> bool {
        self.previous.is_some()
    }

    pub fn unwrap(&self, subject: &Subject, wrapped: &[u8]) -> Result<DataKey, Locked> {
        let keys = [Some(&self.newest), self.previous.as_ref()];
        let opened = keys.into_iter().flatten().find_map(|platform| {
            decrypt(&tenant_key(platform, &subject.tenant), subject, wrapped).ok()
        });
        let key = opened.and_then(|bytes| bytes.try_into().ok()).ok_or(Locked::Broken)?;
        Ok(DataKey(key))
    }
}

/// The key that wraps those of one tenant's people; the platform's own is used for nothing directly.
fn tenant_key(platform_key: &[u8], tenant: &Tenant) -> [u8; 32] {
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    let mut mac = <Hmac<Sha256>>::new_from_slice(platform_key).expect("any length");
    mac.update(b"throughline wrapping v1\0");
    mac.update(tenant.as_str().as_bytes());
    mac.finalize().into_bytes().into()
}

/// One value as a sealed field.
pub fn seal(key: &DataKey, subject: &Subject, value: &Value, once: Once) -> String {
    let sealed = encrypt(&key.0, subject, value.to_string().as_bytes(), once);
    format!("{MARK}{}.{}.{}", subject.kind, subject.id, URL_SAFE_NO_PAD.encode(sealed))
}

/// Whose a sealed field is; `None` for any other text, also one that only begins like one: what somebody wrote is to be
/// sealed, however it begins.
pub fn subject_of(tenant: &Tenant, sealed: &str) -> Option<Subject> {
    parts_of(sealed).map(|(kind, id)| Subject { tenant: tenant.clone(), kind, id })
}

fn parts_of(sealed: &str) -> Option<(Token, EntityToken)> {
    let mut parts = sealed.strip_prefix(MARK)?.split('.');
    let owner = (Token::parse(parts.next()?).ok()?, EntityToken::parse(parts.next()?).ok()?);
    let is_whole = is_ciphertext(parts.next()?) && parts.next().is_none();
    is_whole.then_some(owner)
}

fn is_ciphertext(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    text.len() >= SHORTEST && text.bytes().all(is_digit)
}

/// The value that was sealed.
pub fn open(key: &DataKey, subject: &Subject, sealed: &str) -> Result<Value, Locked> {
    let text = sealed.rsplit('.').next().ok_or(Locked::Broken)?;
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Locked::Broken)?;
    let opened = decrypt(&key.0, subject, &bytes)?;
    serde_json::from_slice(&opened).map_err(|_| Locked::Broken)
}

/// What tells a sealed value from others of the person, whenever it was sealed, and tells nobody what it is: it needs the
/// person's key to be made, and means nothing once that is destroyed.
pub fn fingerprint(key: &DataKey, subject: &Subject, sealed: &str) -> Result<String, Locked> {
    let value = open(key, subject, sealed)?;
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    let mut mac = <Hmac<Sha256>>::new_from_slice(&key.0).expect("any length");
    mac.update(b"throughline fingerprint v1\0");
    mac.update(value.to_string().as_bytes());
    let digest: [u8; 32] = mac.finalize().into_bytes().into();
    Ok(URL_SAFE_NO_PAD.encode(&digest[..16]))
}

/// Something that is no JSON, sealed: the nonce and the ciphertext.
pub fn seal_bytes(key: &DataKey, subject: &Subject, plain: &[u8], once: Once) -> Vec<u8> {
    encrypt(&key.0, subject, plain, once)
}

pub fn open_bytes(key: &DataKey, subject: &Subject, sealed: &[u8]) -> Result<Vec<u8>, Locked> {
    decrypt(&key.0, subject, sealed)
}

fn encrypt(key: &[u8; 32], subject: &Subject, plain: &[u8], once: Once) -> Vec<u8> {
    let mut sealed = once.to_vec();
    let mut text = plain.to_vec();
    #[expect(clippy::expect_used, reason = "the key has the algorithm's length")]
    let key = UnboundKey::new(&AES_256_GCM, key).expect("32 bytes");
    // It fails only for texts of 64 GiB and more.
    if LessSafeKey::new(key)
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(once), subject.bound(), &mut text)
        .is_ok()
    {
        sealed.append(&mut text);
    }
    sealed
}

fn decrypt(key: &[u8; 32], subject: &Subject, sealed: &[u8]) -> Result<Vec<u8>, Locked> {
    let (once, text) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(Locked::Broken)?;
    let mut text = text.to_vec();
    let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| Locked::Broken)?;
    let nonce = Nonce::assume_unique_for_key(*once);
    let plain = LessSafeKey::new(key)
        .open_in_place(nonce, subject.bound(), &mut text)
        .map_err(|_| Locked::Broken)?;
    Ok(plain.to_vec())
}

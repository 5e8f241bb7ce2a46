//! Subject tokens: the only strings that may become part of a NATS subject.
//! Outside ids are encoded here, never spliced into a subject.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// The most characters a token may have.
pub const MAX_LENGTH: usize = 64;

/// `[A-Za-z0-9_-]{1,64}`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(Arc<str>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 64 characters of A-Z, a-z, 0-9, _ and -")]
pub struct InvalidToken;

impl Token {
    pub fn parse(text: &str) -> Result<Self, InvalidToken> {
        if is_token(text) { Ok(Self(text.into())) } else { Err(InvalidToken) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// Whose data something is. It comes from a verified credential or a configured source, never from a client's string.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Tenant(Token);

impl Tenant {
    pub fn parse(text: &str) -> Result<Self, InvalidToken> {
        Token::parse(text).map(Self)
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an event is about, as a subject token.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct EntityToken(Token);

/// Marks an encoded id; a plain id that begins like one is encoded too, so that no two ids share a token.
const ENCODED: &str = "_x";
const HASHED: &str = "_h";

impl EntityToken {
    /// Any outside id as a token: itself where it fits, else base64url, else (longer than 46 bytes) its SHA-256.
    pub fn from_external(id: &str) -> Self {
        if is_token(id) && !id.starts_with(ENCODED) && !id.starts_with(HASHED) {
            return Self(Token(id.into()));
        }
        let text = if id.len() <= 46 {
            format!("{ENCODED}{}", URL_SAFE_NO_PAD.encode(id))
        } else {
            format!("{HASHED}{}", URL_SAFE_NO_PAD.encode(Sha256::digest(id)))
        };
        Self(Token(text.into()))
    }

    /// A token read back from a subject.
    pub fn parse(token: &str) -> Result<Self, InvalidToken> {
        Token::parse(token).map(Self)
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// Any outside id is a token once it is encoded.
impl From<EntityToken> for Token {
    fn from(entity: EntityToken) -> Self {
        entity.0
    }
}

impl fmt::Display for EntityToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn is_token(text: &str) -> bool {
    (1..=MAX_LENGTH).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wildcards_dots_and_spaces_are_no_tokens() {
        for bad in ["", "a.b", "*", ">", "a b", "ä", &"x".repeat(65)] {
            assert!(Token::parse(bad).is_err(), "{bad}");
        }
        assert!(Token::parse("CA42_x-9").is_ok());
    }

    #[test]
    fn a_fitting_id_stays_readable_and_others_are_encoded() {
        assert_eq!(EntityToken::from_external("CA42").as_str(), "CA42");
        assert_eq!(EntityToken::from_external("1672649960.960").as_str(), "_xMTY3MjY0OTk2MC45NjA");
        assert_ne!(EntityToken::from_external("_xCA42").as_str(), "_xCA42");
    }

    proptest! {
        #[test]
        fn every_id_becomes_a_valid_token_of_its_own(a in ".{0,80}", b in ".{0,80}") {
            let (left, right) = (EntityToken::from_external(&a), EntityToken::from_external(&b));
            prop_assert!(is_token(left.as_str()) && is_token(right.as_str()));
            prop_assert_eq!(a == b, left == right);
        }
    }
}

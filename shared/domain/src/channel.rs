//! Channels: what clients name, join and receive from (`calls`, `call:CA42`, `user:7`).
//! Who may join which is the catalogue's business.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// The most characters a channel's name may have.
pub const MAX_LENGTH: usize = 192;

/// What cannot stand in a channel's name: the separator of the channels header, white space and what HTTP headers refuse.
const ENCODED: &AsciiSet =
    &CONTROLS.add(b' ').add(b',').add(b'%').add(b'"').add(b'\\').add(b'*').add(b'>').add(b'?');

/// A channel's name, encoded so that it can stand in the comma-separated `tl-channels` header.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Channel(Arc<str>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a channel is 1 to 192 characters")]
pub struct InvalidChannel;

impl Channel {
    /// A channel as a client or a header names it. Characters that cannot be stored are percent-encoded,
    /// so an outside id may be used as it is; an already encoded name stays as it is.
    pub fn parse(text: &str) -> Result<Self, InvalidChannel> {
        let name: Arc<str> = if is_plain(text) { text.into() } else { encode(text).into() };
        if name.is_empty() || name.len() > MAX_LENGTH {
            Err(InvalidChannel)
        } else {
            Ok(Self(name))
        }
    }

    /// `kind:id` with an outside id.
    pub fn with_id(kind: &str, id: &str) -> Result<Self, InvalidChannel> {
        if id.is_empty() { Err(InvalidChannel) } else { Self::parse(&format!("{kind}:{id}")) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the first colon, or the whole name.
    pub fn kind(&self) -> &str {
        self.0.split_once(':').map_or(&self.0, |(kind, _)| kind)
    }

    /// The part behind the first colon.
    pub fn id(&self) -> Option<&str> {
        self.0.split_once(':').map(|(_, id)| id)
    }
}

fn is_plain(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_graphic() && !matches!(b, b',' | b'"' | b'\\' | b'*' | b'>' | b'?'))
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

impl Borrow<str> for Channel {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outside_id_is_encoded_where_it_must_be() {
        let channel = Channel::with_id("contact", "a,b c\u{e4}").unwrap();
        assert_eq!(channel.as_str(), "contact:a%2Cb%20c%C3%A4");
        assert_eq!(Channel::parse(channel.as_str()).unwrap(), channel);
        assert_eq!((channel.kind(), channel.id()), ("contact", Some("a%2Cb%20c%C3%A4")));
    }

    #[test]
    fn empty_and_overlong_names_are_refused() {
        assert!(Channel::parse("").is_err());
        assert!(Channel::with_id("call", "").is_err());
        assert!(Channel::parse(&"x".repeat(193)).is_err());
    }
}

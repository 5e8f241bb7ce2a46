//! Message headers as the domain reads them.

use async_nats::HeaderMap;
use bytes::Bytes;

/// `NATS/1.0`, and before a status a space.
const VERSION: &[u8] = b"NATS/1.0";

/// The headers of one message.
#[derive(Clone, Debug)]
pub struct Headers(Kept);

#[derive(Clone, Debug)]
enum Kept {
    /// As the client library received them.
    Map(HeaderMap),
    /// As they stand in the protocol: lines of names and values. A search through them costs less than a map of them.
    Block(Bytes),
}

impl Headers {
    pub fn get(&self, name: &str) -> Option<&str> {
        match &self.0 {
            // A lookup by name would allocate the name; a message has about a dozen headers.
            Kept::Map(map) => {
                let (_, values) = map.iter().find(|(key, _)| AsRef::<str>::as_ref(*key) == name)?;
                values.first().map(|value| value.as_str())
            }
            Kept::Block(block) => {
                let value = lines(block).find_map(|line| value_of(line, name.as_bytes()))?;
                std::str::from_utf8(value).ok()
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let (map, block) = match &self.0 {
            Kept::Map(map) => (Some(map), &b""[..]),
            Kept::Block(block) => (None, &block[..]),
        };
        let of_map = map.into_iter().flat_map(HeaderMap::iter).flat_map(|(name, values)| {
            values.iter().map(move |value| (AsRef::<str>::as_ref(name), value.as_str()))
        });
        let of_block = lines(block).filter_map(|line| {
            let (name, value) = line.split_at_checked(memchr::memchr(b':', line)?)?;
            let value = std::str::from_utf8(&value[1..]).ok()?;
            Some((std::str::from_utf8(name).ok()?, value.trim_ascii()))
        });
        of_map.chain(of_block)
    }

    pub(crate) fn map(&self) -> HeaderMap {
        match &self.0 {
            Kept::Map(map) => map.clone(),
            Kept::Block(_) => read(self.iter()),
        }
    }

    /// Of a message that was received or sent by this process, or that the leader returned: with the first line of
    /// the protocol or without.
    pub(crate) fn of_block(block: Bytes) -> Self {
        Self(Kept::Block(block))
    }

    /// What the server says instead of a message, with its number.
    pub(crate) fn status(&self) -> Option<(u16, &str)> {
        let Kept::Block(block) = &self.0 else { return None };
        let line = block.strip_prefix(VERSION)?.strip_prefix(b" ")?;
        let line = line.split(|byte| *byte == b'\r').next()?;
        let line = std::str::from_utf8(line).ok()?;
        let (code, text) = line.split_once(' ').unwrap_or((line, ""));
        Some((code.parse().ok()?, text))
    }
}

fn lines(mut block: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if block.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', block).unwrap_or(block.len());
        let (line, rest) = block.split_at(end);
        block = rest.get(1..).unwrap_or_default();
        Some(line)
    })
}

/// What a line holds, if it is of that name. Most are told apart by where their colon is.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let is_it = line.get(name.len()) == Some(&b':') && line.starts_with(name);
    is_it.then(|| line[name.len() + 1..].trim_ascii())
}

fn read<'a>(lines: impl Iterator<Item = (&'a str, &'a str)>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        if let (Ok(name), Ok(value)) =
            (name.trim().parse::<async_nats::HeaderName>(), value.trim().parse())
        {
            let value: async_nats::HeaderValue = value;
            map.append(name, value);
        }
    }
    map
}

impl Default for Headers {
    fn default() -> Self {
        Self(Kept::Block(Bytes::new()))
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.map() == other.map()
    }
}

impl Eq for Headers {}

impl From<Option<HeaderMap>> for Headers {
    fn from(map: Option<HeaderMap>) -> Self {
        Self(Kept::Map(map.unwrap_or_default()))
    }
}

impl domain::envelope::Headers for Headers {
    fn get(&self, name: &str) -> Option<&str> {
        self.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &'static str) -> Headers {
        Headers::of_block(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn a_stored_block_is_read_back() {
        let headers = block("NATS/1.0\r\nce-id: 7\r\ntl-channels:calls,call:CA42\r\n\r\n");
        assert_eq!(headers.get("ce-id"), Some("7"));
        assert_eq!(headers.get("tl-channels"), Some("calls,call:CA42"));
        assert_eq!(headers.get("ce-type"), None);
        assert_eq!(headers.status(), None);
        assert_eq!(headers.iter().count(), 2);
    }

    #[test]
    fn what_was_sent_reads_like_what_is_received() {
        let sent = block("Nats-Msg-Id: t:1\r\ntl-channels: calls,call:CA42");
        assert_eq!(sent.get("tl-channels"), Some("calls,call:CA42"));
        assert_eq!(sent.get("Nats-Msg-Id"), Some("t:1"));
        assert_eq!(sent.iter().count(), 2);
        let received =
            block("NATS/1.0\r\nNats-Msg-Id: t:1\r\ntl-channels: calls,call:CA42\r\n\r\n");
        assert_eq!(sent, received);
        assert_eq!(sent, Headers::from(Some(received.map())));
    }

    #[test]
    fn a_status_is_told_with_its_text() {
        assert_eq!(
            block("NATS/1.0 409 Message Size Exceeds MaxBytes\r\nNats-Pending-Messages: 3\r\n\r\n")
                .status(),
            Some((409, "Message Size Exceeds MaxBytes"))
        );
        assert_eq!(block("NATS/1.0 503\r\n\r\n").status(), Some((503, "")));
        assert_eq!(block("").status(), None);
    }
}

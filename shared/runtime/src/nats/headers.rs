//! Message headers as the domain reads them.

use std::sync::Arc;

use async_nats::HeaderMap;

/// The headers of one message.
#[derive(Clone, Debug)]
pub struct Headers(Kept);

#[derive(Clone, Debug)]
enum Kept {
    /// As they were received.
    Map(HeaderMap),
    /// As they were sent: lines of names and values. A search through them costs less than a map of them.
    Lines(Arc<str>),
}

impl Headers {
    pub fn get(&self, name: &str) -> Option<&str> {
        match &self.0 {
            // A lookup by name would allocate the name; a message has about a dozen headers.
            Kept::Map(map) => {
                let (_, values) = map.iter().find(|(key, _)| AsRef::<str>::as_ref(*key) == name)?;
                values.first().map(|value| value.as_str())
            }
            Kept::Lines(text) => lines(text).find(|(key, _)| *key == name).map(|(_, value)| value),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let (map, text) = match &self.0 {
            Kept::Map(map) => (Some(map), ""),
            Kept::Lines(text) => (None, &**text),
        };
        let of_map = map.into_iter().flat_map(HeaderMap::iter).flat_map(|(name, values)| {
            values.iter().map(move |value| (AsRef::<str>::as_ref(name), value.as_str()))
        });
        of_map.chain(lines(text))
    }

    pub(crate) fn map(&self) -> HeaderMap {
        match &self.0 {
            Kept::Map(map) => map.clone(),
            Kept::Lines(text) => read(lines(text)),
        }
    }

    /// Of a message that was sent by this process.
    pub(crate) fn of_lines(text: Arc<str>) -> Self {
        Self(Kept::Lines(text))
    }

    /// Reads the header block of a stored message, as the leader's get returns it.
    pub(crate) fn parse(block: &str) -> Self {
        Self(Kept::Map(read(block.lines().skip(1).filter_map(|line| line.split_once(':')))))
    }
}

fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| line.split_once(": "))
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
        Self(Kept::Map(HeaderMap::new()))
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

    #[test]
    fn a_stored_block_is_read_back() {
        let headers =
            Headers::parse("NATS/1.0\r\nce-id: 7\r\ntl-channels: calls,call:CA42\r\n\r\n");
        assert_eq!(headers.get("ce-id"), Some("7"));
        assert_eq!(headers.get("tl-channels"), Some("calls,call:CA42"));
        assert_eq!(headers.get("ce-type"), None);
    }

    #[test]
    fn what_was_sent_reads_like_what_is_received() {
        let sent = Headers::of_lines("Nats-Msg-Id: t:1\r\ntl-channels: calls,call:CA42".into());
        assert_eq!(sent.get("tl-channels"), Some("calls,call:CA42"));
        assert_eq!(sent.get("Nats-Msg-Id"), Some("t:1"));
        assert_eq!(sent.iter().count(), 2);
        let block = "NATS/1.0\r\nNats-Msg-Id: t:1\r\ntl-channels: calls,call:CA42\r\n\r\n";
        assert_eq!(sent, Headers::parse(block));
    }
}

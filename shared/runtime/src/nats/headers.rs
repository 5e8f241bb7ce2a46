//! Message headers as the domain reads them.

use async_nats::HeaderMap;

/// The headers of one received message.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Headers(HeaderMap);

impl Headers {
    pub fn get(&self, name: &str) -> Option<&str> {
        // A lookup by name would allocate the name; a message has about a dozen headers.
        let (_, values) = self.0.iter().find(|(key, _)| AsRef::<str>::as_ref(*key) == name)?;
        values.first().map(|value| value.as_str())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|(name, values)| {
            values.iter().map(move |value| (AsRef::<str>::as_ref(name), value.as_str()))
        })
    }

    pub(crate) fn map(&self) -> &HeaderMap {
        &self.0
    }

    /// Reads the header block of a stored message, as the leader's get returns it.
    pub(crate) fn parse(block: &str) -> Self {
        let mut map = HeaderMap::new();
        for (name, value) in block.lines().skip(1).filter_map(|line| line.split_once(':')) {
            if let (Ok(name), Ok(value)) =
                (name.trim().parse::<async_nats::HeaderName>(), value.trim().parse())
            {
                let value: async_nats::HeaderValue = value;
                map.append(name, value);
            }
        }
        Self(map)
    }
}

impl From<Option<HeaderMap>> for Headers {
    fn from(map: Option<HeaderMap>) -> Self {
        Self(map.unwrap_or_default())
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
}

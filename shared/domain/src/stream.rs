//! The event streams, in the fixed order that positions use.

use std::fmt;

/// A stream of events. The discriminant is its place in a [`crate::Position`] and must never change.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum StreamId {
    Calls = 0,
    Messages = 1,
    Crisis = 2,
    Conversations = 3,
    Activity = 4,
}

/// How many event streams there are.
pub const COUNT: usize = 5;

impl StreamId {
    pub const ALL: [Self; COUNT] =
        [Self::Calls, Self::Messages, Self::Crisis, Self::Conversations, Self::Activity];

    /// The stream's name in JetStream.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calls => "CALLS",
            Self::Messages => "MESSAGES",
            Self::Crisis => "CRISIS",
            Self::Conversations => "CONVERSATIONS",
            Self::Activity => "ACTIVITY",
        }
    }

    pub const fn index(self) -> usize {
        self as usize
    }

    pub fn from_index(index: usize) -> Option<Self> {
        Self::ALL.get(index).copied()
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stream| stream.name() == name)
    }

    /// The stream that stores a category's events; `nats/streams/*.json` binds the same categories.
    pub fn of_category(category: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stream| stream.categories().contains(&category))
    }

    pub const fn categories(self) -> &'static [&'static str] {
        match self {
            Self::Calls => &["call"],
            Self::Messages => &["message", "whatsapp", "campaign", "contact", "flow"],
            Self::Crisis => &["crisis", "safety"],
            Self::Conversations => &["conversation", "session", "ai", "voice"],
            Self::Activity => &[
                "metric",
                "agent",
                "training",
                "clip",
                "notification",
                "team",
                "system",
                "broadcast",
                "custom",
                "catalogue",
                "auth",
                "subject",
            ],
        }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stream_is_found_by_index_name_and_category() {
        for (index, stream) in StreamId::ALL.into_iter().enumerate() {
            assert_eq!(stream.index(), index);
            assert_eq!(StreamId::from_name(stream.name()), Some(stream));
            for category in stream.categories() {
                assert_eq!(StreamId::of_category(category), Some(stream));
            }
        }
        assert_eq!(StreamId::of_category("typing"), None);
    }
}

//! Who a verified caller is: the claims that decide what it may join, publish and command.

use std::sync::Arc;

use crate::token::Tenant;

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Role {
    /// Public channels only.
    Guest,
    User,
    Agent,
    Admin,
    /// A backend: publishes, and joins what its claims say.
    Service,
}

impl Role {
    pub const ALL: [Self; 5] = [Self::Guest, Self::User, Self::Agent, Self::Admin, Self::Service];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::User => "user",
            Self::Agent => "agent",
            Self::Admin => "admin",
            Self::Service => "service",
        }
    }

    /// A role by the platform's own names; `super` is 001's word for an admin.
    pub fn parse(name: &str) -> Option<Self> {
        if name == "super" {
            return Some(Self::Admin);
        }
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

#[derive(Clone, PartialEq, Debug)]
pub struct Identity {
    pub tenant: Tenant,
    /// The user's id (claim `sub` or `userId`).
    pub user: Arc<str>,
    pub role: Role,
    pub email: Option<Arc<str>>,
    /// Channels it may join besides its role's.
    pub channels: Vec<Glob>,
    /// Event types it may publish besides its role's.
    pub publish: Vec<Glob>,
    /// Unix seconds; `None` where the application checks expiry at connect only or tokens carry none.
    pub expires_at: Option<i64>,
    pub token_id: Option<Arc<str>>,
    /// The configured application whose key verified it.
    pub application: Arc<str>,
    /// Names the key that verified it within this process, so that the key's removal is noticed; 0 where no key did.
    pub key: u64,
}

/// What the names of connections without a credential begin with.
const NOBODY: &str = "anonymous-";

impl Identity {
    /// Stands for the key of an identity that no key verified.
    pub const NO_KEY: u64 = 0;

    /// A name of its own for a connection without a credential; `id` is nobody else's.
    pub fn name_of_nobody(id: &str) -> String {
        format!("{NOBODY}{id}")
    }

    pub fn is_name_of_nobody(user: &str) -> bool {
        user.starts_with(NOBODY)
    }

    /// Whether this one came without a credential. A signed name never counts, whatever it looks like.
    pub fn is_anonymous(&self) -> bool {
        self.key == Self::NO_KEY && Self::is_name_of_nobody(&self.user)
    }
}

/// A pattern in which `*` stands for any run of characters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Glob(Arc<str>);

impl Glob {
    pub fn new(pattern: &str) -> Self {
        Self(pattern.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn matches(&self, text: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else {
            return false;
        };
        let Some(last) = parts.next_back() else {
            return rest.is_empty();
        };
        for part in parts {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_matches_whole_texts() {
        let yes = [
            ("*", "x"),
            ("call:*", "call:CA1"),
            ("a*c", "abc"),
            ("calls", "calls"),
            ("*:*:z", "x:y:z"),
        ];
        let no =
            [("call:*", "calls"), ("calls", "calls2"), ("a*c", "ab"), ("ab*ba", "aba"), ("", "x")];
        for (pattern, text) in yes {
            assert!(Glob::new(pattern).matches(text), "{pattern} {text}");
        }
        for (pattern, text) in no {
            assert!(!Glob::new(pattern).matches(text), "{pattern} {text}");
        }
    }
}

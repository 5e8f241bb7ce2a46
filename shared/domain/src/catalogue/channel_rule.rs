//! A declared channel: its name or pattern and who may join it.

use super::template::Template;
use crate::identity::Role;

/// Who owns the channel that a pattern's hole names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// The user with that id.
    User,
    /// The connection with that id, which alone is in it.
    Connection,
    /// Whoever owns the entity of that id; only its state tells.
    Entity,
}

#[derive(Clone, PartialEq, Debug)]
pub struct ChannelRule {
    /// As declared: `calls`, `call:{sid}`.
    pub name: String,
    pub summary: String,
    /// The roles that may join any of them.
    pub roles: Vec<Role>,
    pub owner: Option<Owner>,
    /// Joined at connect by who has the role (plain names) or owns it (patterns).
    pub auto_join: bool,
    /// `user_` for `user_{id}`: accepted on join, never emitted.
    pub(super) alias_prefixes: Vec<String>,
    /// The view that a client reads after a gap: `active-calls`, `calls/{sid}`.
    pub(super) snapshot: Option<SnapshotRule>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SnapshotRule {
    pub(super) view: String,
    pub(super) keyed: bool,
}

impl ChannelRule {
    /// Whether the name has a hole for an id.
    pub fn is_pattern(&self) -> bool {
        self.name.ends_with('}')
    }

    /// The part before the hole and its colon, or the whole name.
    pub fn kind(&self) -> &str {
        match self.name.split_once(":{") {
            Some((kind, _)) => kind,
            None => &self.name,
        }
    }

    /// The name without the hole's field, as [`Template::shape`] gives it.
    pub(super) fn shape(&self) -> String {
        Template::parse(&self.name).map_or_else(|_| self.name.clone(), |name| name.shape())
    }
}

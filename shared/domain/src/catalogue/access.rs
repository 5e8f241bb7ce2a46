//! Who may join which channel, who may publish what, and where a channel's snapshot is.

use super::Catalogue;
use super::channel_rule::{ChannelRule, Owner};
use super::event_type::EventType;
use crate::channel::Channel;
use crate::identity::{Identity, Role};
use crate::owned_id;

/// The answer to a wish to join.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    Granted,
    /// Refused, and the same for a channel that does not exist.
    Denied,
}

/// Where a client reads a channel's present state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Snapshot<'a> {
    pub view: &'a str,
    /// The entry of the view, where the channel is about one.
    pub key: Option<&'a str>,
}

impl Catalogue {
    /// A channel as a client asks for it: canonical, with the seeds' `user_7` read as `user:7`.
    pub fn channel(&self, requested: &str) -> Option<Channel> {
        let aliased = self.channels.iter().find_map(|rule| {
            let id =
                rule.alias_prefixes.iter().find_map(|prefix| requested.strip_prefix(prefix))?;
            Channel::with_id(rule.kind(), id).ok()
        });
        aliased.or_else(|| Channel::parse(requested).ok())
    }

    /// The declaration of a channel.
    pub fn rule(&self, channel: &Channel) -> Option<&ChannelRule> {
        let plain = self.by_channel.get(channel.as_str());
        let plain = plain.filter(|&&at| !self.channels[at].is_pattern());
        let pattern = || {
            let id_at = channel.as_str().find(':')? + 1;
            let (key, id) = channel.as_str().split_at(id_at);
            self.by_channel.get(key).filter(|_| !id.is_empty())
        };
        plain.or_else(pattern).map(|&at| &self.channels[at])
    }

    pub fn access(&self, identity: &Identity, channel: &Channel) -> Access {
        let Some(rule) = self.rule(channel) else { return Access::Denied };
        if rule.owner == Some(Owner::Connection) {
            return Access::Denied;
        }
        let by_role = rule.roles.contains(&identity.role);
        let by_claim = || identity.channels.iter().any(|glob| glob.matches(channel.as_str()));
        let is_granted = by_role || owns(rule, identity, channel) || by_claim();
        if is_granted { Access::Granted } else { Access::Denied }
    }

    pub fn may_join(&self, identity: &Identity, channel: &Channel) -> bool {
        self.access(identity, channel) == Access::Granted
    }

    /// The channels that a connection is in from the beginning.
    pub fn auto_join(&self, identity: &Identity, connection: &str) -> Vec<Channel> {
        let joined = |rule: &ChannelRule| {
            let own = |id: &str| Channel::with_id(rule.kind(), id).ok();
            match rule.owner {
                _ if !rule.auto_join => None,
                Some(Owner::Connection) => own(connection),
                Some(Owner::User) if identity.role != Role::Guest => own(&identity.user),
                None if rule.roles.contains(&identity.role) => Channel::parse(&rule.name).ok(),
                Some(Owner::User | Owner::Entity) | None => None,
            }
        };
        self.channels.iter().filter_map(joined).collect()
    }

    /// What to read after a gap.
    pub fn snapshot_of<'a>(&'a self, channel: &'a Channel) -> Option<Snapshot<'a>> {
        let snapshot = self.rule(channel)?.snapshot.as_ref()?;
        let key = if snapshot.keyed { channel.id() } else { None };
        Some(Snapshot { view: &snapshot.view, key })
    }

    /// Whether a caller may publish an event type: by its role or by the globs of its `publish` claim.
    /// A service whose token has such globs is held to them. Decisions of the platform are nobody's.
    pub fn may_publish(&self, identity: &Identity, event: &EventType) -> bool {
        if event.closed {
            return false;
        }
        let by_claim = identity.publish.iter().any(|glob| {
            glob.matches(&event.name) || event.wire.all().any(|name| glob.matches(name))
        });
        let narrowed = identity.role == Role::Service && !identity.publish.is_empty();
        by_claim || (!narrowed && event.publishers.contains(&identity.role))
    }
}

fn owns(rule: &ChannelRule, identity: &Identity, channel: &Channel) -> bool {
    if identity.role == Role::Guest {
        return false;
    }
    match rule.owner {
        Some(Owner::User) => {
            Channel::with_id(rule.kind(), &identity.user).is_ok_and(|own| own == *channel)
        }
        // Its id was minted for its owner and says so itself.
        Some(Owner::Entity) => channel
            .id()
            .is_some_and(|id| owned_id::belongs_to(id, &identity.tenant, &identity.user)),
        Some(Owner::Connection) | None => false,
    }
}

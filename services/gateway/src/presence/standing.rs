//! The words of presence: what it is about, and how somebody stands there. Pure.

use domain::{Channel, Tenant};
use sha1::{Digest as _, Sha1};

/// What a roster is about: everybody of a tenant, or who is in one channel of it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct Scope {
    pub(crate) tenant: Tenant,
    /// `None` stands for everybody.
    pub(crate) channel: Option<Channel>,
}

impl Scope {
    pub(crate) fn everybody(tenant: &Tenant) -> Self {
        Self { tenant: tenant.clone(), channel: None }
    }

    pub(crate) fn channel(tenant: &Tenant, channel: &Channel) -> Self {
        Self { tenant: tenant.clone(), channel: Some(channel.clone()) }
    }
}

/// A device of one user, told apart from that user's others on every gateway.
pub(crate) type DeviceId = u32;

/// Devices are told between gateways by a fingerprint: their names are the clients' own and may be long.
pub(crate) fn device_id(name: &str) -> DeviceId {
    let digest = Sha1::digest(name);
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// One user's devices at one gateway, in one scope.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Standing {
    /// With an open connection.
    pub(crate) live: Vec<DeviceId>,
    /// Gone so recently that they may be on their way back.
    pub(crate) leaving: Vec<DeviceId>,
    /// Unix milliseconds: when the oldest open connection came; 0 where none is open.
    pub(crate) since: i64,
    /// Unix milliseconds: when the last connection ended; 0 while one is open.
    pub(crate) left_at: i64,
}

impl Standing {
    pub(crate) fn is_gone(&self) -> bool {
        self.live.is_empty() && self.leaving.is_empty()
    }

    /// Each device once, and leaving only where it is not live.
    pub(crate) fn tidy(mut self) -> Self {
        self.live.sort_unstable();
        self.live.dedup();
        self.leaving.sort_unstable();
        self.leaving.dedup();
        self.leaving.retain(|device| self.live.binary_search(device).is_err());
        self
    }
}

/// A user as those who follow a scope are told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Told {
    pub(crate) user: std::sync::Arc<str>,
    /// 0 is offline.
    pub(crate) devices: u32,
    /// Unix milliseconds; meaningful for who is offline.
    pub(crate) last_seen: i64,
}

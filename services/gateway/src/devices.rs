//! Acknowledged positions of devices, so that a client without a memory of its own resumes too.
//!
//! Kept per tenant, user and device, and within it per set of channels: a position acknowledged for some channels
//! says nothing about others.

use bytes::Bytes;
use domain::cursor::{Cursor, CursorKeys};
use domain::{Channel, EntityToken, StreamId, Tenant};
use runtime::kv::{Bucket, KvError};
use runtime::nats::Nats;
use serde::{Deserialize, Serialize};

use crate::edge::Refused;

/// The most sets of channels that are remembered for a device; the one not acknowledged for the longest time goes.
const SETS: usize = 8;
/// The longest name of a device, in characters.
const LONGEST_NAME: usize = 200;
const BAD_DEVICE: Refused =
    Refused::new("bad_device", "The name of a device has at most 200 characters.");
/// How often a write that another one came before is tried again.
const TRIES: usize = 5;

#[derive(Default, Serialize, Deserialize)]
struct Stored {
    /// The most recently acknowledged first.
    sets: Vec<Set>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Set {
    channels: Vec<String>,
    cursor: String,
}

impl Stored {
    /// Makes a set the most recent one; whether that changed anything.
    fn put_first(&mut self, channels: &[String]) -> bool {
        let found = self.sets.iter().position(|set| set.channels == channels);
        match found {
            Some(0) => return false,
            Some(at) => self.sets[..=at].rotate_right(1),
            None => {
                let set = Set { channels: channels.to_vec(), cursor: String::new() };
                self.sets.insert(0, set);
            }
        }
        true
    }
}

/// A device's latest set of channels and how far it has acknowledged them.
#[derive(Clone, Debug)]
pub(crate) struct Remembered {
    pub channels: Vec<Channel>,
    pub cursor: Cursor,
    /// It is the client's own cursor and speaks of whatever it joins.
    pub all: bool,
}

impl Remembered {
    pub(crate) fn covers(&self, channel: &Channel) -> bool {
        self.all || self.channels.contains(channel)
    }
}

/// A name that a client gave its device, whatever wire it came by. It is kept, and sent to the other gateways.
pub(crate) fn check_name(name: Option<&str>) -> Result<(), Refused> {
    // Most are short, and bytes are counted faster than characters.
    let is_long = |name: &str| name.len() > LONGEST_NAME && name.chars().count() > LONGEST_NAME;
    if name.is_some_and(is_long) { Err(BAD_DEVICE) } else { Ok(()) }
}

/// Whose device it is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Device {
    pub tenant: Tenant,
    pub user: String,
    pub name: String,
}

impl Device {
    fn key(&self) -> String {
        let part = EntityToken::from_external;
        format!("{}.{}.{}", self.tenant, part(&self.user), part(&self.name))
    }
}

#[derive(Clone)]
pub(crate) struct Devices {
    bucket: Bucket,
    keys: CursorKeys,
}

impl Devices {
    pub(crate) fn new(nats: &Nats, keys: CursorKeys) -> Self {
        Self { bucket: nats.bucket("cursors"), keys }
    }

    /// What the device acknowledged for exactly these channels.
    pub(crate) async fn resume(
        &self,
        device: &Device,
        channels: &[Channel],
    ) -> Result<Option<Cursor>, KvError> {
        let wanted = names(channels);
        let found = self.sets(device).await?.into_iter().find(|set| set.channels == wanted);
        Ok(found.and_then(|set| self.keys.decode(&device.tenant, &set.cursor).ok()))
    }

    /// What the device acknowledged last, and for which channels.
    pub(crate) async fn latest(&self, device: &Device) -> Result<Option<Remembered>, KvError> {
        let Some(set) = self.sets(device).await?.into_iter().next() else { return Ok(None) };
        let channels = set.channels.iter().filter_map(|name| Channel::parse(name).ok()).collect();
        let cursor = self.keys.decode(&device.tenant, &set.cursor).ok();
        Ok(cursor.map(|cursor| Remembered { channels, cursor, all: false }))
    }

    async fn sets(&self, device: &Device) -> Result<Vec<Set>, KvError> {
        let entry = self.bucket.get_from_leader(&device.key()).await?;
        Ok(entry.map(|entry| read(&entry.value).sets).unwrap_or_default())
    }

    /// Remembers that the device follows these channels now, from `at` on where it did not before. `anew`: what it
    /// acknowledged before does not count any more.
    pub(crate) async fn begin(
        &self,
        device: &Device,
        channels: &[Channel],
        at: &Cursor,
        anew: bool,
    ) -> Result<(), KvError> {
        let wanted = names(channels);
        self.change(device, |stored| {
            let is_known = stored.sets.iter().any(|set| set.channels == wanted);
            let has_changed = stored.put_first(&wanted);
            if !is_known || anew {
                stored.sets[0].cursor = self.keys.encode(&device.tenant, at);
            }
            has_changed || anew
        })
        .await
    }

    /// Moves the position of one set of channels, else of the set that the device opened last. A position never
    /// moves back. Says whether there was a set to move.
    pub(crate) async fn acknowledge(
        &self,
        device: &Device,
        channels: Option<&[Channel]>,
        cursor: &Cursor,
    ) -> Result<bool, KvError> {
        let wanted = channels.map(names);
        let mut is_known = false;
        self.change(device, |stored| {
            let mut has_changed = wanted.as_ref().is_some_and(|wanted| stored.put_first(wanted));
            is_known = !stored.sets.is_empty();
            if let Some(set) = stored.sets.first_mut() {
                has_changed |= self.advance(device, set, cursor);
            }
            has_changed
        })
        .await?;
        Ok(is_known)
    }

    /// The same where a position speaks of only some of what the device follows: kept only if the device had nothing
    /// but these channels when it acknowledged last, as the others are not to begin behind it.
    pub(crate) async fn acknowledge_part(
        &self,
        device: &Device,
        channels: &[Channel],
        cursor: &Cursor,
    ) -> Result<(), KvError> {
        let wanted = names(channels);
        self.change(device, |stored| match stored.sets.first_mut() {
            Some(set) if set.channels == wanted => self.advance(device, set, cursor),
            Some(_) => false,
            None => stored.put_first(&wanted) && self.advance(device, &mut stored.sets[0], cursor),
        })
        .await
    }

    fn advance(&self, device: &Device, set: &mut Set, cursor: &Cursor) -> bool {
        let old = self.keys.decode(&device.tenant, &set.cursor).unwrap_or_default();
        let is_same_log = StreamId::ALL.into_iter().all(|stream| {
            let (old, new) = (old.position.get(stream), cursor.position.get(stream));
            old.sequence == 0 || old.epoch == new.epoch
        });
        let is_behind = old.position.includes(&cursor.position)
            && (old.position.sequences() != cursor.position.sequences() || old == *cursor);
        if is_same_log && is_behind {
            return false;
        }
        set.cursor = self.keys.encode(&device.tenant, cursor);
        true
    }

    async fn change(
        &self,
        device: &Device,
        mut change: impl FnMut(&mut Stored) -> bool,
    ) -> Result<(), KvError> {
        let key = device.key();
        for _ in 0..TRIES {
            let entry = self.bucket.get_from_leader(&key).await?;
            let mut stored = entry.as_ref().map(|entry| read(&entry.value)).unwrap_or_default();
            if !change(&mut stored) {
                return Ok(());
            }
            stored.sets.truncate(SETS);
            let value = Bytes::from(serde_json::to_vec(&stored).unwrap_or_default());
            let written = match entry {
                Some(entry) => self.bucket.update(&key, value, entry.revision).await,
                None => self.bucket.create(&key, value).await,
            };
            match written {
                Err(KvError::Conflict) => {}
                written => return written.map(drop),
            }
        }
        Err(KvError::Conflict)
    }
}

fn read(value: &[u8]) -> Stored {
    serde_json::from_slice(value).unwrap_or_default()
}

/// A set of channels by its sorted names; a connection's own channel belongs to no set.
fn names(channels: &[Channel]) -> Vec<String> {
    let lasting = channels.iter().filter(|channel| channel.kind() != "connection");
    let mut names: Vec<_> = lasting.map(Channel::to_string).collect();
    names.sort_unstable();
    names
}

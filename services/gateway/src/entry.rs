//! One event as the gateway holds it: decoded once, encoded at most once per wire.
//! It knows no connection and no position; a frame's cursor is put in by who delivers it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use domain::catalogue::{Catalogue, WireForm};
use domain::position::{StreamPosition, fingerprint};
use domain::protection::holds_sealed;
use domain::{Channel, Envelope, StreamId};
use runtime::vault::Vault;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::wires::{self, Wire};

/// Where a stored event stands in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub stream: StreamId,
    pub sequence: u64,
    /// Unix milliseconds.
    pub stored_at: i64,
}

impl Place {
    /// The position in its stream right after this event.
    pub(crate) fn position(&self, epoch: u32) -> StreamPosition {
        StreamPosition { epoch, sequence: self.sequence, fingerprint: fingerprint(self.stored_at) }
    }
}

pub(crate) struct Entry {
    /// `None` for an ephemeral event, which stands nowhere.
    pub place: Option<Place>,
    pub envelope: Envelope,
    /// How its data becomes a wire's arguments.
    pub form: WireForm,
    /// The user, as the id of a channel, who does not get it: its own signals are no news to it.
    pub except: Option<Box<str>>,
    /// What the wires carry, where that is not the data itself.
    payload: Option<Bytes>,
    /// Opens what is sealed in the data, each time anew: nothing that was opened is kept, so that a destroyed key
    /// leaves nothing behind here.
    vault: Option<Vault>,
    /// One per wire name: a call's change is `call_update` to `calls` and `call_data` to `call:{sid}`.
    variants: Box<[Variant]>,
}

/// An event under one of its wire names.
pub(crate) struct Variant {
    pub name: Box<str>,
    /// The event's channels on which it has this name.
    pub channels: Box<[Channel]>,
    bodies: [OnceLock<Bytes>; wires::COUNT],
}

impl Entry {
    /// A stored event, which may hold sealed fields.
    pub(crate) fn stored(
        place: Place,
        envelope: Envelope,
        catalogue: &Catalogue,
        vault: Option<&Vault>,
    ) -> Arc<Self> {
        let vault = vault.filter(|_| holds_sealed(&envelope.data)).cloned();
        Self::make(Some(place), envelope, None, vault, catalogue)
    }

    /// An ephemeral event, for everybody in its channels but one user.
    pub(crate) fn signal(
        envelope: Envelope,
        except: Option<String>,
        catalogue: &Catalogue,
    ) -> Arc<Self> {
        Self::make(None, envelope, except, None, catalogue)
    }

    fn make(
        place: Option<Place>,
        envelope: Envelope,
        except: Option<String>,
        vault: Option<Vault>,
        catalogue: &Catalogue,
    ) -> Arc<Self> {
        let event_type = catalogue.by_type(&envelope.event_type);
        let form = event_type.map(|event_type| event_type.form.clone()).unwrap_or_default();
        let message = if form == WireForm::Message { message(&envelope.data) } else { None };
        let mut variants: Vec<(String, Vec<Channel>)> = Vec::new();
        for channel in &envelope.channels {
            let name = match (&message, event_type) {
                (Some((name, _)), _) => name.clone(),
                (None, Some(event_type)) => event_type.wire.name_for(channel).to_owned(),
                (None, None) => envelope.event_type.replace('.', ":"),
            };
            match variants.iter_mut().find(|(known, _)| *known == name) {
                Some((_, channels)) => channels.push(channel.clone()),
                None => variants.push((name, vec![channel.clone()])),
            }
        }
        let variants = variants.into_iter().map(|(name, channels)| Variant {
            name: name.into(),
            channels: channels.into(),
            bodies: Default::default(),
        });
        let (except, payload) = (except.map(Into::into), message.map(|(_, payload)| payload));
        let variants = variants.collect();
        Arc::new(Self { place, envelope, form, except, payload, vault, variants })
    }

    /// The data as the wires carry it.
    pub(crate) fn data(&self) -> Bytes {
        self.payload.clone().unwrap_or_else(|| self.opened())
    }

    /// The data with what is sealed in it opened.
    pub(crate) fn opened(&self) -> Bytes {
        match &self.vault {
            Some(vault) => vault.open(&self.envelope.tenant, &self.envelope.data),
            None => self.envelope.data.clone(),
        }
    }

    pub(crate) fn variants(&self) -> &[Variant] {
        &self.variants
    }

    /// The wire's frame of a variant without its cursor; encoded by the first who needs it.
    pub(crate) fn body(&self, variant: usize, wire: Wire) -> Bytes {
        let variant = &self.variants[variant];
        match wire.index().filter(|_| self.vault.is_none()) {
            Some(kept) => variant.bodies[kept].get_or_init(|| wire.body(self, variant)).clone(),
            None => wire.body(self, variant),
        }
    }

    /// What it costs to keep, roughly.
    pub(crate) fn size(&self) -> usize {
        256 + 2 * self.envelope.data.len()
    }

    /// The event's first channel that is no user's or connection's, which WebSocket clients call the room.
    pub(crate) fn room(&self) -> Option<&Channel> {
        self.envelope.channels.iter().find(|c| !matches!(c.kind(), "user" | "connection"))
    }
}

/// The name and the content of a message of an application's own kind.
fn message(data: &[u8]) -> Option<(String, Bytes)> {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(rename = "type")]
        name: String,
        #[serde(borrow)]
        payload: &'a RawValue,
    }
    let message: Message<'_> = serde_json::from_slice(data).ok()?;
    Some((message.name, Bytes::copy_from_slice(message.payload.get().as_bytes())))
}

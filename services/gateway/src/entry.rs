//! One event as the gateway holds it: decoded once, encoded at most once per wire.
//! It knows no connection and no position; a frame's cursor is put in by who delivers it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use domain::catalogue::{Catalogue, WireForm};
use domain::position::{StreamPosition, fingerprint};
use domain::{Channel, Envelope, StreamId};

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
    pub(crate) fn new(
        place: Option<Place>,
        envelope: Envelope,
        catalogue: &Catalogue,
    ) -> Arc<Self> {
        let event_type = catalogue.by_type(&envelope.event_type);
        let mut variants: Vec<(String, Vec<Channel>)> = Vec::new();
        for channel in &envelope.channels {
            let name = match event_type {
                Some(event_type) => event_type.wire.name_for(channel).to_owned(),
                None => envelope.event_type.replace('.', ":"),
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
        let form = event_type.map(|event_type| event_type.form.clone()).unwrap_or_default();
        Arc::new(Self { place, envelope, form, variants: variants.collect() })
    }

    pub(crate) fn variants(&self) -> &[Variant] {
        &self.variants
    }

    /// The wire's frame of a variant without its cursor; encoded by the first who needs it.
    pub(crate) fn body(&self, variant: usize, wire: Wire) -> Bytes {
        let variant = &self.variants[variant];
        match wire.index() {
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

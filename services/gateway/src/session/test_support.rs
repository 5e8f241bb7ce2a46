//! Entries and gateways in memory for tests of the pure core.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use domain::catalogue::Catalogue;
use domain::{Channel, Envelope, StreamId, Tenant};
use time::OffsetDateTime;

use crate::entry::{Entry, Place};

pub(crate) fn catalogue() -> Arc<Catalogue> {
    static CATALOGUE: LazyLock<Arc<Catalogue>> =
        LazyLock::new(|| Arc::new(Catalogue::builtin().unwrap()));
    CATALOGUE.clone()
}

pub(crate) fn tenant() -> Tenant {
    Tenant::parse("acme").unwrap()
}

pub(crate) fn event(
    stream: StreamId,
    sequence: u64,
    channels: &[&str],
    catalogue: &Catalogue,
) -> Arc<Entry> {
    let place = Place { stream, sequence, stored_at: sequence as i64 * 10 };
    Entry::stored(place, envelope(stream, sequence, channels), catalogue, None)
}

fn envelope(stream: StreamId, sequence: u64, channels: &[&str]) -> Envelope {
    // A call's change has two wire names, so an event may be two frames.
    let event_type = if stream == StreamId::Calls { "call.update" } else { "custom.message" };
    Envelope {
        id: format!("{stream}-{sequence}"),
        source: "test".into(),
        event_type: event_type.into(),
        version: 1,
        time: OffsetDateTime::UNIX_EPOCH,
        tenant: tenant(),
        channels: channels.iter().map(|name| Channel::parse(name).unwrap()).collect(),
        critical: stream == StreamId::Crisis,
        correlation_id: None,
        causation_id: None,
        data: Bytes::from_static(b"{}"),
    }
}

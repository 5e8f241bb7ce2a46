//! What differs between plain SSE and a tRPC subscription, besides the events themselves.

use std::time::Duration;

use bytes::Bytes;
use domain::{Channel, Identity};
use serde_json::{Value, json};

use crate::commands::Answer;
use crate::line::GapReason;
use crate::queries;
use crate::wires::{Wire, sse, trpc};

/// How long an `EventSource` waits before it reconnects.
const RETRY_MS: u64 = 2_000;
/// So many signs of life must fail to come before a client takes the line for dead.
const SIGNS_MISSED: u32 = 3;

#[derive(Clone, Copy, Debug)]
pub(super) enum Dialect {
    Sse,
    Trpc(trpc::Mode),
}

impl Dialect {
    pub(super) const fn wire(self) -> Wire {
        match self {
            Self::Sse => Wire::Sse,
            Self::Trpc(mode) => Wire::Trpc(mode),
        }
    }

    pub(super) fn greeting(
        self,
        identity: &Identity,
        device: &str,
        channels: &[Channel],
        recovered: bool,
        sign_of_life: Duration,
    ) -> Bytes {
        if let Self::Trpc(mode) = self {
            return trpc::connected(mode, sign_of_life * SIGNS_MISSED);
        }
        let ready = json!({
            "userId": &*identity.user,
            "tenant": identity.tenant.as_str(),
            "device": device,
            "channels": names(channels),
            "recovered": recovered,
        });
        let greeting = [sse::retry(RETRY_MS), sse::message("ready", &ready)];
        greeting.concat().into()
    }

    /// `cursor` is where the client goes on behind it.
    pub(super) fn gap(self, channels: &[Channel], reason: GapReason, cursor: &str) -> Bytes {
        let gap = json!({ "channels": names(channels), "reason": reason.name() });
        match self {
            Self::Sse => sse::message("gap", &gap),
            Self::Trpc(mode) => trpc::gap(mode, &gap, cursor),
        }
    }

    /// Whether a gap is followed by the state of its channels; a subscription carries calls alone.
    pub(super) const fn has_snapshots(self) -> bool {
        matches!(self, Self::Sse)
    }

    /// It has no position of its own; what cannot be told the client may ask for itself.
    pub(super) fn snapshot(self, answer: Answer) -> Option<Bytes> {
        let can_be_told = self.has_snapshots() && answer.is_ok();
        can_be_told.then(|| sse::message(queries::SNAPSHOT, &answer.into_payload()))
    }

    /// Moves the client's position without an event.
    pub(super) fn position(self, cursor: &str) -> Bytes {
        match self {
            Self::Sse => sse::position(cursor),
            Self::Trpc(_) => trpc::position(cursor),
        }
    }

    pub(super) fn keep_alive(self) -> Bytes {
        match self {
            Self::Sse => Bytes::from_static(sse::COMMENT),
            Self::Trpc(_) => Bytes::from_static(trpc::PING),
        }
    }
}

fn names(channels: &[Channel]) -> Value {
    channels.iter().map(Channel::as_str).collect()
}

//! The wires: pure codecs over the same session. A wire turns entries into frames and client frames into requests;
//! it knows no socket, no log and no other wire.

use bytes::Bytes;

use crate::entry::{Entry, Variant};

mod attachment;
pub(crate) mod engineio;
mod json;
pub(crate) mod socketio;
pub(crate) mod sse;
pub(crate) mod trpc;
pub(crate) mod websocket;
pub(crate) mod websocket_frame;

/// How many wires have frames that are kept for others.
pub(crate) const COUNT: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wire {
    WebSocket,
    Sse,
    SocketIo,
    Trpc(trpc::Mode),
}

impl Wire {
    /// The place of its frames among those that are kept; the frames of a rare wire are made anew each time.
    pub(crate) const fn index(self) -> Option<usize> {
        match self {
            Self::WebSocket => Some(0),
            Self::Sse => Some(1),
            Self::SocketIo => Some(2),
            Self::Trpc(_) => None,
        }
    }

    /// Whether its clients know the event at all.
    pub(crate) fn carries(self, variant: &Variant) -> bool {
        !matches!(self, Self::Trpc(_)) || trpc::carries(variant)
    }

    /// An event's frame up to where its cursor goes, shared by every connection of the wire.
    pub(crate) fn body(self, entry: &Entry, variant: &Variant) -> Bytes {
        match self {
            Self::WebSocket => websocket::event_body(entry, variant),
            Self::Sse => sse::event_body(entry, variant),
            Self::SocketIo => socketio::event_body(entry, variant),
            Self::Trpc(mode) => trpc::event_body(mode, entry, variant),
        }
    }

    /// The whole frame, ready to be written.
    pub(crate) fn finish(self, body: &Bytes, cursor: &str) -> Bytes {
        match self {
            Self::WebSocket => websocket::finish_event(body, cursor),
            Self::Sse => sse::finish_event(body, cursor),
            Self::SocketIo => socketio::finish_event(body, cursor),
            Self::Trpc(mode) => trpc::finish_event(mode, body, cursor),
        }
    }
}

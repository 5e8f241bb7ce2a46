//! The wires: pure codecs over the same session. A wire turns entries into frames and client frames into requests;
//! it knows no socket, no log and no other wire.

use bytes::Bytes;

use crate::entry::{Entry, Variant};

pub(crate) mod sse;
pub(crate) mod websocket;
pub(crate) mod websocket_frame;

/// How many wires encode events.
pub(crate) const COUNT: usize = 2;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wire {
    WebSocket,
    Sse,
}

impl Wire {
    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// An event's frame up to where its cursor goes, shared by every connection of the wire.
    pub(crate) fn body(self, entry: &Entry, variant: &Variant) -> Bytes {
        match self {
            Self::WebSocket => websocket::event_body(entry, variant),
            Self::Sse => sse::event_body(entry, variant),
        }
    }

    /// The whole frame, ready to be written.
    pub(crate) fn finish(self, body: &Bytes, cursor: &str) -> Bytes {
        match self {
            Self::WebSocket => websocket::finish_event(body, cursor),
            Self::Sse => sse::finish_event(body, cursor),
        }
    }
}

//! What is to be sent, as WebSocket frames whatever carries them: events are encoded once and shared by all clients.
//! Small by construction: events are collected only when everything before has left.

use bytes::Bytes;
use serde_json::Value;

use crate::wires::engineio::{self, Message};
use crate::wires::socketio;
use crate::wires::websocket_frame::{Opcode, frame};

#[derive(Debug, Default)]
pub struct Outbox(Vec<Bytes>);

impl Outbox {
    /// Sends an Engine.IO message.
    pub fn send(&mut self, message: &Message) {
        self.push(match message {
            Message::Text(text) => frame(Opcode::Text, &[b"4", text.as_bytes()]),
            Message::Binary(bytes) => frame(Opcode::Binary, &[bytes]),
        });
    }

    /// Tells a client that it is in a namespace. With a `pid` it will ask for recovery when it comes back.
    pub fn connected(&mut self, namespace: &str, sid: &str, pid: Option<&str>) {
        self.push(socketio::connected(namespace, sid, pid));
    }

    /// Tells a client that it is not let into a namespace.
    pub fn refuse(&mut self, namespace: &str, message: &str, data: Option<&Value>) {
        self.push(socketio::refused(namespace, message, data));
    }

    /// Emits an event whose arguments may be placeholders for attachments.
    pub fn emit(
        &mut self,
        namespace: &str,
        name: &str,
        arguments: &[Value],
        attachments: &[Bytes],
    ) {
        if attachments.is_empty() {
            return self.push(socketio::event(namespace, name, arguments, None));
        }
        self.extend(socketio::binary_event(namespace, name, arguments, attachments));
    }

    /// Answers an event that had an id.
    pub fn ack(&mut self, namespace: &str, id: u64, arguments: &[Value], attachments: &[Bytes]) {
        self.extend(socketio::ack(namespace, id, arguments, attachments));
    }

    pub(super) fn ping(&mut self) {
        self.push(frame(Opcode::Text, &[engineio::PING.as_bytes()]));
    }

    pub(super) fn push(&mut self, frame: Bytes) {
        self.0.push(frame);
    }

    pub(super) fn extend(&mut self, frames: Vec<Bytes>) {
        self.0.extend(frames);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// The frames themselves, for who collects many.
    pub(super) fn frames(&mut self) -> &mut Vec<Bytes> {
        &mut self.0
    }

    /// Takes everything and keeps no memory: a connection that idles holds no queue.
    pub(super) fn take(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.0)
    }

    /// What one poll carries.
    pub(super) fn poll_payload(&mut self, limit: usize) -> Bytes {
        engineio::poll_payload(&mut self.0, limit)
    }
}

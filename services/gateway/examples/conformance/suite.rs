//! What the official suites expect of their listener: Engine.IO messages come back, Socket.IO events are answered.

use std::future::pending;

use gateway::socketio::{
    Application, Applications, Closing, Event, Handler, Handshake, Message, Namespaces, Options,
    Outbox,
};
use serde_json::Value;
use tokio::time::Instant;

#[derive(Clone, Copy)]
pub(crate) struct Echoes;

impl Applications for Echoes {
    type Application = Echo;

    fn open(&self, handshake: Handshake) -> Echo {
        Echo { _handshake: handshake }
    }
}

/// Sends every message back.
pub(crate) struct Echo {
    /// Kept, as by everyone who does not know yet who its client is.
    _handshake: Handshake,
}

impl Application for Echo {
    async fn receive(&mut self, message: Message, outbox: &mut Outbox) -> Result<(), Closing> {
        outbox.send(&message);
        Ok(())
    }

    async fn wait(&mut self, _drained: bool) {
        pending().await
    }

    async fn act(&mut self, _drained: bool, _outbox: &mut Outbox) -> Result<(), Closing> {
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    async fn closed(&mut self, _closing: Closing) {}
}

#[derive(Clone, Copy)]
pub(crate) struct Suites(pub(crate) Options);

impl Applications for Suites {
    type Application = Namespaces<Suite>;

    fn open(&self, _handshake: Handshake) -> Self::Application {
        Namespaces::new(Suite, self.0)
    }
}

/// Tells what it was given: `auth` with the CONNECT payload, `message-back`, acknowledgements.
pub(crate) struct Suite;

impl Handler for Suite {
    async fn connect(
        &mut self,
        namespace: &str,
        auth: Value,
        outbox: &mut Outbox,
    ) -> Result<bool, Closing> {
        let is_known = matches!(namespace, "/" | "/custom");
        if is_known {
            outbox.connected(namespace, &runtime::ids::unguessable(), None);
            outbox.emit(namespace, "auth", &[auth], &[]);
        } else {
            outbox.refuse(namespace, "Invalid namespace", None);
        }
        Ok(is_known)
    }

    async fn event(
        &mut self,
        namespace: &str,
        event: Event,
        outbox: &mut Outbox,
    ) -> Result<(), Closing> {
        match (&*event.name, event.id) {
            ("message", _) => {
                outbox.emit(namespace, "message-back", &event.arguments, &event.attachments);
            }
            ("message-with-ack", Some(id)) => {
                outbox.ack(namespace, id, &event.arguments, &event.attachments);
            }
            _ => {}
        }
        Ok(())
    }

    fn acked(&mut self, _namespace: &str) -> Result<(), Closing> {
        Ok(())
    }

    async fn disconnect(&mut self, _namespace: &str) {}

    async fn wait(&mut self, _drained: bool) {
        pending().await
    }

    async fn act(&mut self, _drained: bool, _outbox: &mut Outbox) -> Result<(), Closing> {
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    async fn closed(&mut self, _closing: Closing) {}
}

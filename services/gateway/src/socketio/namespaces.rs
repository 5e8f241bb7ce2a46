//! The namespaces of one connection: which of them its client is in, and what breaks the protocol.

use serde_json::Value;
use tokio::time::Instant;

use super::{Application, Closing, Options, Outbox};
use crate::wires::engineio::Message;
use crate::wires::socketio::{Body, Decoder, Event, Packet};

/// Acts on what a client says in its namespaces.
pub trait Handler: Send + 'static {
    /// A client wants into a namespace. Answers it through the outbox; whether it is in.
    fn connect(
        &mut self,
        namespace: &str,
        auth: Value,
        outbox: &mut Outbox,
    ) -> impl Future<Output = Result<bool, Closing>> + Send;

    fn event(
        &mut self,
        namespace: &str,
        event: Event,
        outbox: &mut Outbox,
    ) -> impl Future<Output = Result<(), Closing>> + Send;

    /// A client has answered an event that it thinks had an id.
    fn acked(&mut self, namespace: &str) -> Result<(), Closing>;

    /// The client has left a namespace.
    fn disconnect(&mut self, namespace: &str) -> impl Future<Output = ()> + Send;

    /// As of [`Application::wait`].
    fn wait(&mut self, drained: bool) -> impl Future<Output = ()> + Send;

    /// As of [`Application::act`].
    fn act(
        &mut self,
        drained: bool,
        outbox: &mut Outbox,
    ) -> impl Future<Output = Result<(), Closing>> + Send;

    /// As of [`Application::pinged`].
    fn pinged(&mut self) {}

    /// As of [`Application::ponged`].
    fn ponged(&mut self) {}

    fn deadline(&self) -> Option<Instant>;

    fn closed(&mut self, closing: Closing) -> impl Future<Output = ()> + Send;
}

/// Socket.IO on top of an Engine.IO session.
pub struct Namespaces<H> {
    handler: H,
    decoder: Decoder,
    connected: Vec<String>,
    options: Options,
    /// Set while the client is in no namespace.
    connect_by: Option<Instant>,
}

impl<H: Handler> Namespaces<H> {
    pub fn new(handler: H, options: Options) -> Self {
        let connect_by = Some(Instant::now() + options.connect_timeout);
        let decoder = Decoder::new(options.max_packet);
        Self { handler, decoder, connected: Vec::new(), options, connect_by }
    }

    async fn packet(&mut self, packet: Packet, outbox: &mut Outbox) -> Result<(), Closing> {
        let Packet { namespace, body } = packet;
        let is_connected = is_in(&self.connected, &namespace);
        match body {
            Body::Connect(auth) if !is_connected => {
                if self.handler.connect(&namespace, auth, outbox).await? {
                    self.connected.push(namespace);
                    self.connect_by = None;
                }
                Ok(())
            }
            Body::Event(event) if is_connected => {
                self.handler.event(&namespace, event, outbox).await
            }
            Body::Disconnect if is_connected => {
                self.connected.retain(|name| *name != namespace);
                if self.connected.is_empty() {
                    self.connect_by = Some(Instant::now() + self.options.connect_timeout);
                }
                self.handler.disconnect(&namespace).await;
                Ok(())
            }
            Body::Ack if is_connected => self.handler.acked(&namespace),
            Body::Connect(_) | Body::Event(_) | Body::Disconnect | Body::Ack => {
                Err(Closing::ParseError)
            }
        }
    }
}

fn is_in(connected: &[String], namespace: &str) -> bool {
    connected.iter().any(|name| name == namespace)
}

impl<H: Handler> Application for Namespaces<H> {
    async fn receive(&mut self, message: Message, outbox: &mut Outbox) -> Result<(), Closing> {
        let packet = match message {
            Message::Text(text) => self.decoder.text(&text, |name| is_in(&self.connected, name)),
            Message::Binary(bytes) => self.decoder.binary(bytes),
        };
        match packet.map_err(|_| Closing::ParseError)? {
            Some(packet) => self.packet(packet, outbox).await,
            None => Ok(()),
        }
    }

    async fn wait(&mut self, drained: bool) {
        self.handler.wait(drained).await;
    }

    async fn act(&mut self, drained: bool, outbox: &mut Outbox) -> Result<(), Closing> {
        if self.connect_by.is_some_and(|by| by <= Instant::now()) {
            return Err(Closing::ForcedClose);
        }
        self.handler.act(drained, outbox).await
    }

    fn pinged(&mut self) {
        self.handler.pinged();
    }

    fn ponged(&mut self) {
        self.handler.ponged();
    }

    fn deadline(&self) -> Option<Instant> {
        self.connect_by.into_iter().chain(self.handler.deadline()).min()
    }

    async fn closed(&mut self, closing: Closing) {
        self.handler.closed(closing).await;
    }
}

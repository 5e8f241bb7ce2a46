//! The life of an Engine.IO session: what carries it, its heartbeat, the change from polling to WebSocket, its end.
//! It knows nothing of what its messages say.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tracing::debug;

use super::polling::Poll;
use super::probe::Probe;
use super::sessions::{Command, Place};
use super::{Application, Closing, Options, Outbox};
use crate::socket::io::{Happened, Socket};
use crate::throttle::{Throttle, Verdict};
use crate::wires::engineio::{CLOSE, Message, Packet};
use crate::wires::websocket_frame::{self, Limits, Opcode, close_frame, frame};

mod commands;

/// How long the last frames may take to leave.
const GOODBYE: Duration = Duration::from_secs(2);

pub(super) struct Engine<A> {
    application: A,
    options: Options,
    carrier: Carrier,
    outbox: Outbox,
    /// `None` for a session that began as a WebSocket: no other request can name it.
    place: Option<Place>,
    probe: Option<Box<Probe>>,
    heart: Heart,
    /// Counts what carries no message; the application counts the messages.
    controls: Throttle,
}

enum Carrier {
    Polling(Poll),
    WebSocket(Socket),
}

/// What the heartbeat waits for.
#[derive(Clone, Copy)]
enum Heart {
    Rest(Instant),
    Pong(Instant),
}

impl Heart {
    const fn deadline(self) -> Instant {
        match self {
            Self::Rest(until) | Self::Pong(until) => until,
        }
    }

    fn has_stopped(self) -> bool {
        matches!(self, Self::Pong(until) if until <= Instant::now())
    }
}

/// What a turn came back with.
enum Turn {
    Carrier(io::Result<Happened>),
    Command(Command),
    Probe(io::Result<Happened>),
    Application,
    Timer,
}

impl<A: Application> Engine<A> {
    pub(super) fn polling(application: A, options: Options, place: Place) -> Box<Self> {
        Self::new(application, options, Carrier::Polling(Poll::default()), Some(place))
    }

    pub(super) fn websocket(
        application: A,
        options: Options,
        mut socket: Socket,
        open: &str,
    ) -> Box<Self> {
        socket.send(frame(Opcode::Text, &[open.as_bytes()]));
        Self::new(application, options, Carrier::WebSocket(socket), None)
    }

    fn new(application: A, options: Options, carrier: Carrier, place: Option<Place>) -> Box<Self> {
        // The first ping comes one interval after the handshake.
        let heart = Heart::Rest(Instant::now() + options.ping_interval);
        let (outbox, controls) = (Outbox::default(), Throttle::new(options.controls_per_second));
        Box::new(Self {
            application,
            options,
            carrier,
            outbox,
            place,
            probe: None,
            heart,
            controls,
        })
    }

    pub(super) async fn run(mut self: Box<Self>) {
        let closing = match self.serve().await {
            Ok(never) => match never {},
            Err(closing) => closing,
        };
        debug!(reason = closing.reason(), "an Engine.IO session has ended");
        Box::pin(self.finish(closing)).await;
    }

    async fn serve(&mut self) -> Result<Infallible, Closing> {
        // What the client sent right behind its request.
        Box::pin(self.read_messages()).await?;
        let mut due = self.deadline();
        let mut timer = Box::pin(sleep_until(due));
        loop {
            match self.turn(&mut timer).await {
                Turn::Application => self.act().await?,
                Turn::Timer => {
                    Box::pin(self.tick()).await?;
                    due = self.deadline();
                    timer.as_mut().reset(due);
                }
                happened => Box::pin(self.happened(happened)).await?,
            }
            self.flush()?;
            // One that has moved back is found when the timer fires.
            if self.deadline() < due {
                due = self.deadline();
                timer.as_mut().reset(due);
            }
        }
    }

    /// Waits for one thing to happen.
    async fn turn(&mut self, timer: &mut Pin<Box<Sleep>>) -> Turn {
        let drained = self.is_drained();
        let Self { application, carrier, place, probe, .. } = self;
        tokio::select! {
            biased;
            // A client that never stops talking puts nothing off that is due by the clock.
            () = timer.as_mut() => Turn::Timer,
            happened = carrier.drive() => Turn::Carrier(happened),
            Some(command) = next_command(place) => Turn::Command(command),
            happened = Probe::drive(probe) => Turn::Probe(happened),
            () = application.wait(drained) => Turn::Application,
        }
    }

    async fn happened(&mut self, turn: Turn) -> Result<(), Closing> {
        match turn {
            Turn::Carrier(Ok(Happened::Read)) => {
                self.read_messages().await?;
                self.look_up().await
            }
            Turn::Carrier(Ok(Happened::Wrote)) | Turn::Application | Turn::Timer => Ok(()),
            Turn::Carrier(Ok(Happened::Closed)) => Err(Closing::TransportClose),
            Turn::Carrier(Err(_)) => Err(Closing::TransportError),
            Turn::Command(command) => self.command(command).await,
            Turn::Probe(happened) => self.probed(&happened).await,
        }
    }

    /// The socket of a client that never stops talking is always ready; the application gets its turn between reads.
    async fn look_up(&mut self) -> Result<(), Closing> {
        let drained = self.is_drained();
        match self.application.wait(drained).now_or_never() {
            Some(()) => self.act().await,
            None => Ok(()),
        }
    }

    async fn act(&mut self) -> Result<(), Closing> {
        let drained = self.is_drained();
        self.application.act(drained, &mut self.outbox).await
    }

    async fn tick(&mut self) -> Result<(), Closing> {
        let now = Instant::now();
        match self.heart {
            Heart::Rest(until) if until <= now => {
                self.application.pinged();
                self.outbox.ping();
                self.heart = Heart::Pong(until + self.options.ping_timeout);
            }
            Heart::Rest(_) | Heart::Pong(_) => {}
        }
        if self.heart.has_stopped() {
            // The pong may have come while this process was held up.
            self.read_what_is_there().await?;
        }
        if self.heart.has_stopped() {
            return Err(Closing::PingTimeout);
        }
        if self.probe.as_ref().is_some_and(|probe| probe.deadline <= now) {
            self.give_up_probe().await;
        }
        if self.application.deadline().is_some_and(|due| due <= now) {
            Box::pin(self.act()).await?;
        }
        Ok(())
    }

    async fn read_what_is_there(&mut self) -> Result<(), Closing> {
        let Carrier::WebSocket(socket) = &mut self.carrier else { return Ok(()) };
        match socket.drive().now_or_never() {
            Some(Ok(Happened::Read)) => self.read_messages().await,
            _ => Ok(()),
        }
    }

    fn deadline(&self) -> Instant {
        let mut due = self.heart.deadline();
        if let Some(probe) = &self.probe {
            due = due.min(probe.deadline);
        }
        self.application.deadline().map_or(due, |at| due.min(at))
    }

    async fn read_messages(&mut self) -> Result<(), Closing> {
        let limits = self.limits();
        loop {
            let Carrier::WebSocket(socket) = &mut self.carrier else { return Ok(()) };
            match socket.reader.next_message(limits) {
                Ok(Some(websocket_frame::Message::Text(text))) => {
                    let packet = Packet::decode(text).map_err(|_| Closing::ParseError)?;
                    self.packet(packet).await?;
                }
                Ok(Some(websocket_frame::Message::Binary(bytes))) => {
                    self.packet(Packet::Message(Message::Binary(bytes))).await?;
                }
                Ok(Some(websocket_frame::Message::Ping(payload))) => {
                    count(&mut self.controls)?;
                    socket.send(frame(Opcode::Pong, &[&payload]));
                }
                Ok(Some(websocket_frame::Message::Pong(_))) => count(&mut self.controls)?,
                Ok(Some(websocket_frame::Message::Close(_))) => {
                    return Err(Closing::TransportClose);
                }
                Ok(None) => return Ok(()),
                Err(_) => return Err(Closing::TransportError),
            }
            self.flush()?;
        }
    }

    async fn packet(&mut self, packet: Packet) -> Result<(), Closing> {
        if !matches!(packet, Packet::Message(_)) {
            count(&mut self.controls)?;
        }
        match packet {
            Packet::Message(message) => self.application.receive(message, &mut self.outbox).await,
            Packet::Pong => {
                self.application.ponged();
                self.heart = Heart::Rest(Instant::now() + self.options.ping_interval);
                Ok(())
            }
            Packet::Close => Err(Closing::TransportClose),
            // The server pings; a client that does speaks another version.
            Packet::Ping(_) => Err(Closing::TransportError),
            Packet::Open | Packet::Upgrade | Packet::Noop => Ok(()),
        }
    }

    /// Hands what is to be sent to what carries it.
    fn flush(&mut self) -> Result<(), Closing> {
        if self.outbox.is_empty() {
            return Ok(());
        }
        match &mut self.carrier {
            Carrier::WebSocket(socket) => {
                socket.send_all(&mut self.outbox.take());
            }
            Carrier::Polling(poll) if poll.is_waiting() => {
                let payload = self.outbox.poll_payload(self.options.max_payload);
                if !poll.answer(payload) {
                    return Err(Closing::TransportClose);
                }
            }
            Carrier::Polling(_) => {}
        }
        Ok(())
    }

    fn is_drained(&self) -> bool {
        self.outbox.is_empty()
            && match &self.carrier {
                Carrier::WebSocket(socket) => socket.is_drained(),
                Carrier::Polling(poll) => poll.is_waiting(),
            }
    }

    const fn limits(&self) -> Limits {
        Limits { text: self.options.max_payload, binary: self.options.max_packet }
    }

    async fn finish(self: Box<Self>, closing: Closing) {
        let limits = self.limits();
        let Self { mut application, carrier, place, probe, .. } = *self;
        // From here on requests of this session are refused, but for a poll that is to learn of the server's decision.
        let place = place.filter(|_| closing.is_decided_by_server());
        application.closed(closing).await;
        drop(application);
        match carrier {
            Carrier::WebSocket(mut socket) => {
                socket.send(close_frame(1000, ""));
                let _slow = if closing == Closing::TransportClose {
                    timeout(GOODBYE, socket.flush()).await.is_err()
                } else {
                    timeout(GOODBYE, socket.farewell(limits)).await.is_err()
                };
            }
            Carrier::Polling(mut poll) if poll.is_waiting() => {
                poll.answer(CLOSE);
            }
            Carrier::Polling(_) => {
                if let Some(mut place) = place {
                    let _none = timeout(GOODBYE, Poll::last(&mut place.commands, CLOSE)).await;
                }
            }
        }
        if let Some(probe) = probe {
            probe.give_up().await;
        }
    }
}

impl Carrier {
    /// For a poll only its end is of interest: the client has given it up.
    async fn drive(&mut self) -> io::Result<Happened> {
        match self {
            Self::WebSocket(socket) => socket.drive().await,
            Self::Polling(poll) => {
                poll.gone().await;
                Ok(Happened::Closed)
            }
        }
    }
}

/// Counts what carries no message; too much of it ends the session.
fn count(controls: &mut Throttle) -> Result<(), Closing> {
    if controls.take() == Verdict::End { Err(Closing::RateLimited) } else { Ok(()) }
}

async fn next_command(place: &mut Option<Place>) -> Option<Command> {
    let commands: &mut mpsc::Receiver<Command> = match place {
        Some(place) => &mut place.commands,
        None => std::future::pending().await,
    };
    commands.recv().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socketio::{Namespaces, platform::Platform};

    fn size_of_future<A, F: Future>(_: impl Fn(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_session_that_idles_keeps_little() {
        type OfThePlatform = Engine<Namespaces<Platform>>;
        let (state, future) = (size_of::<OfThePlatform>(), size_of_future(OfThePlatform::run));
        assert!(state + future <= 1_600, "{state} + {future} bytes");
    }
}

//! What requests ask of a session: polls, posts, and a WebSocket that takes over.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{Carrier, Engine};
use crate::socket::io::Happened;
use crate::socketio::polling::Poll;
use crate::socketio::probe::{Probe, Verdict};
use crate::socketio::sessions::Command;
use crate::socketio::{Application, Closing};
use crate::wires::engineio::{self, NOOP, Refusal};

/// Answers that a client posts for but does not poll; beyond this the session ends, and the client resumes.
const UNREAD: usize = 1024 * 1024;
/// How long a client's goodbye waits for the poll that was sent with it.
const LAST_POLL: Duration = Duration::from_millis(100);

impl<A: Application> Engine<A> {
    pub(super) async fn command(&mut self, command: Command) -> Result<(), Closing> {
        if self.heart.has_stopped() {
            // The timer may be late by a moment, the client's request must not be.
            return Err(Closing::PingTimeout);
        }
        match command {
            Command::Poll(answer) => self.poll(answer),
            Command::Post(payload, answer) => self.post(&payload, answer).await,
            Command::Upgrade(socket) => {
                let mut probe = Probe::new(*socket, self.options.upgrade_timeout);
                if matches!(self.carrier, Carrier::WebSocket(_)) || self.probe.is_some() {
                    probe.give_up().await;
                    return Ok(());
                }
                let verdict = probe.read(self.limits());
                self.probe = Some(Box::new(probe));
                self.judge(verdict).await
            }
            Command::End(closing) => Err(closing),
        }
    }

    fn poll(&mut self, answer: oneshot::Sender<Result<Bytes, Refusal>>) -> Result<(), Closing> {
        let Carrier::Polling(poll) = &mut self.carrier else {
            let _gone = answer.send(Err(Refusal::BadRequest));
            return Ok(());
        };
        if poll.is_waiting() {
            let _gone = answer.send(Err(Refusal::BadRequest));
            return Err(Closing::TransportError);
        }
        poll.begin(answer);
        if self.outbox.is_empty() && self.probe.as_ref().is_some_and(|probe| probe.is_answered) {
            // The client waits for its polls to end before it takes over.
            poll.answer(NOOP);
        }
        Ok(())
    }

    async fn post(
        &mut self,
        payload: &str,
        answer: oneshot::Sender<Result<(), Refusal>>,
    ) -> Result<(), Closing> {
        let refused = match &self.carrier {
            Carrier::WebSocket(_) => Some(Ok(())),
            Carrier::Polling(poll) if poll.is_gone() => Some(Err(Closing::TransportClose)),
            Carrier::Polling(_) if self.outbox.bytes() > UNREAD => {
                Some(Err(Closing::TransportError))
            }
            Carrier::Polling(_) => None,
        };
        let ended = match refused {
            Some(ended) => {
                let _gone = answer.send(Err(Refusal::BadRequest));
                return ended;
            }
            None => self.packets(payload).await,
        };
        let _gone = answer.send(match ended {
            Ok(()) | Err(Closing::TransportClose) => Ok(()),
            Err(_) => Err(Refusal::BadRequest),
        });
        if ended == Err(Closing::TransportClose) {
            self.end_last_poll().await;
        }
        ended
    }

    /// The client's own goodbye ends its poll without another one; the poll may still be on its way.
    async fn end_last_poll(&mut self) {
        let Carrier::Polling(poll) = &mut self.carrier else { return };
        if poll.is_waiting() {
            poll.answer(NOOP);
        } else if let Some(place) = &mut self.place {
            let _none = timeout(LAST_POLL, Poll::last(&mut place.commands, NOOP)).await;
        }
    }

    async fn packets(&mut self, payload: &str) -> Result<(), Closing> {
        for packet in engineio::packets(payload) {
            self.packet(packet.map_err(|_| Closing::ParseError)?).await?;
        }
        Ok(())
    }

    pub(super) async fn probed(&mut self, happened: &io::Result<Happened>) -> Result<(), Closing> {
        let limits = self.limits();
        let Some(probe) = &mut self.probe else { return Ok(()) };
        let verdict = probe.happened(happened, limits);
        self.judge(verdict).await
    }

    async fn judge(&mut self, verdict: Verdict) -> Result<(), Closing> {
        match verdict {
            Verdict::Waiting => Ok(()),
            Verdict::Answered => {
                if let Carrier::Polling(poll) = &mut self.carrier {
                    poll.answer(NOOP);
                }
                Ok(())
            }
            Verdict::Upgrade => self.upgrade().await,
            Verdict::GivenUp => {
                self.give_up_probe().await;
                Ok(())
            }
        }
    }

    /// The WebSocket carries the session from here on, and what waits goes over it.
    async fn upgrade(&mut self) -> Result<(), Closing> {
        let Some(probe) = self.probe.take() else { return Ok(()) };
        let before = std::mem::replace(&mut self.carrier, Carrier::WebSocket(probe.socket));
        if let Carrier::Polling(mut poll) = before {
            poll.answer(NOOP);
        }
        self.flush()?;
        Box::pin(self.read_messages()).await
    }

    pub(super) async fn give_up_probe(&mut self) {
        if let Some(probe) = self.probe.take() {
            probe.give_up().await;
        }
    }
}

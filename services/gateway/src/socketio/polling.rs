//! The poll that waits for an answer, if one does.

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::sessions::Command;
use crate::wires::engineio::Refusal;

#[derive(Default)]
pub(super) struct Poll(Option<oneshot::Sender<Result<Bytes, Refusal>>>);

impl Poll {
    pub(super) fn is_waiting(&self) -> bool {
        self.0.is_some()
    }

    /// The client has given the request up.
    pub(super) fn is_gone(&self) -> bool {
        self.0.as_ref().is_some_and(oneshot::Sender::is_closed)
    }

    pub(super) fn begin(&mut self, answer: oneshot::Sender<Result<Bytes, Refusal>>) {
        self.0 = Some(answer);
    }

    /// Whether somebody took the answer.
    pub(super) fn answer(&mut self, payload: impl Into<Bytes>) -> bool {
        self.0.take().is_some_and(|answer| answer.send(Ok(payload.into())).is_ok())
    }

    /// Answers the poll that may be on its way when a session ends, and nothing else.
    pub(super) async fn last(commands: &mut mpsc::Receiver<Command>, payload: &'static str) {
        while let Some(command) = commands.recv().await {
            if let Command::Poll(answer) = command {
                let _gone = answer.send(Ok(payload.into()));
                return;
            }
        }
    }

    /// Resolves when the client gives a waiting request up.
    pub(super) async fn gone(&mut self) {
        match &mut self.0 {
            Some(answer) => answer.closed().await,
            None => std::future::pending().await,
        }
    }
}

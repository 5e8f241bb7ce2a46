//! The poll that waits for an answer, if one does.

use bytes::Bytes;
use tokio::sync::oneshot;

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

    /// Resolves when the client gives a waiting request up.
    pub(super) async fn gone(&mut self) {
        match &mut self.0 {
            Some(answer) => answer.closed().await,
            None => std::future::pending().await,
        }
    }
}

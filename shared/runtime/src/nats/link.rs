//! Whether a connection stands, and which one it is.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::ConnectError;

/// A server that reads its users anew refuses everybody for a moment.
const REFUSAL_LASTS: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Link {
    pub(crate) up: bool,
    /// Rises with every connect; what was in flight in an older generation may never be answered.
    pub(crate) generation: u64,
    /// The server answered and did not take who we are; it may yet, when its users change.
    pub(crate) refused: bool,
}

impl Link {
    /// Another connection stands.
    pub(crate) fn rise(&mut self) {
        *self = Self { up: true, generation: self.generation + 1, refused: false };
    }
}

/// Waits until it stands, or the server has refused the credentials for longer than it takes to read its users anew.
pub(crate) async fn wait_answered(
    mut link: watch::Receiver<Link>,
    until: Instant,
) -> Result<(), ConnectError> {
    let answered = timeout_at(until, link.wait_for(|link| link.up || link.refused)).await;
    match answered.map(|link| link.map(|link| link.up)) {
        Ok(Ok(true)) => return Ok(()),
        Ok(Ok(false)) => {}
        Ok(Err(_)) | Err(_) => return Err(ConnectError::Unreachable),
    }
    let until = until.min(Instant::now() + REFUSAL_LASTS);
    let stands = timeout_at(until, link.wait_for(|link| link.up)).await;
    if matches!(stands, Ok(Ok(_))) { Ok(()) } else { Err(ConnectError::Refused) }
}

/// Waits until it stands.
pub(crate) async fn wait_up(mut link: watch::Receiver<Link>) {
    // Whoever watches the connection lives as long as it does.
    let _ = link.wait_for(|link| link.up).await;
}

//! Files that are read again on SIGHUP. A bad new file is refused and the old one stays in force.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::config::Mistakes;
use crate::tasks::BoxError;

/// Calls `reload` on each SIGHUP until `shutdown`. `reload` must change nothing when it returns mistakes.
pub async fn on_hangup(
    variable: &'static str,
    shutdown: CancellationToken,
    mut reload: impl FnMut() -> Result<(), Mistakes> + Send,
) -> Result<(), BoxError> {
    let mut hangups = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            hangup = hangups.recv() => if hangup.is_none() { return Ok(()) },
        }
        match reload() {
            Ok(()) => info!(variable, "read the file again"),
            Err(mistakes) => {
                error!(variable, %mistakes, "refused the new file; the old one stays in force");
            }
        }
    }
}

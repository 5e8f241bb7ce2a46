//! An operator's files: read again on SIGHUP, a bad new file refused and the old one left in force; or a folder of them.

use std::io;
use std::path::Path;

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

/// Name and text of every `*.toml` of a folder, in the order of their names.
pub fn toml_files(folder: &Path) -> io::Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for file in std::fs::read_dir(folder)? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.push((name, std::fs::read_to_string(&path)?));
        }
    }
    files.sort_unstable();
    Ok(files)
}

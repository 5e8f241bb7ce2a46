//! What an operator adds to the catalogue becomes an event, which every service applies; this one first, before it
//! admits anything by it.

use std::path::{Path, PathBuf};

use domain::catalogue::{Catalogue, Defaults, Publication};
use domain::token::Tenant;
use runtime::catalogue::{AddedFile, CHANGED, LiveCatalogue, fingerprint, read_folder};
use runtime::config::{CATALOGUE_DIR, Mistakes};
use runtime::event_log::EventLog;
use runtime::tasks::BoxError;
use runtime::telemetry::chain;
use runtime::{clock, ids};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

/// Whose the catalogue is: no customer's.
const TENANT: &str = "platform";
const SOURCE: &str = "/catalogue";

/// Reads the folder again; what is wrong in it is told and changes nothing.
pub(crate) fn reload(
    folder: &Path,
    changes: &mpsc::Sender<Vec<AddedFile>>,
) -> Result<(), Mistakes> {
    let told =
        |error: &dyn std::fmt::Display| Mistakes::one(format!("{}: {error}", CATALOGUE_DIR.name));
    let files = read_folder(folder).map_err(|error| told(&error))?;
    let texts: Vec<_> = files.iter().map(|f| (f.name.clone(), f.text.clone())).collect();
    Catalogue::load(&texts).map_err(|mistakes| told(&mistakes))?;
    // One that waits already is replaced by what is read when its turn comes: the folder is told as it is then.
    let _waits = changes.try_send(files);
    Ok(())
}

/// Tells the log what the folder adds, at the start and whenever it changes.
pub(crate) async fn run(
    catalogue: LiveCatalogue,
    log: EventLog,
    folder: Option<PathBuf>,
    mut changes: mpsc::Receiver<Vec<AddedFile>>,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    let mut added = folder.as_ref().map(|_| catalogue.files().to_vec());
    let mut told = tokio::select! {
        () = shutdown.cancelled() => return Ok(()),
        told = catalogue.told() => told,
    };
    loop {
        if let Some(files) = added.take()
            && told.clone().unwrap_or_else(|| fingerprint(&[])) != fingerprint(&files)
        {
            match tell(&catalogue, &log, &files).await {
                Ok(()) => told = Some(fingerprint(&files)),
                Err(error) => {
                    error!(error = chain(&*error), "a change of the catalogue is not in force")
                }
            }
        }
        added = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            files = changes.recv() => files,
        };
        if added.is_none() {
            // Nobody reads the folder: there is nothing more to tell.
            shutdown.cancelled().await;
            return Ok(());
        }
    }
}

async fn tell(
    catalogue: &LiveCatalogue,
    log: &EventLog,
    files: &[AddedFile],
) -> Result<(), BoxError> {
    let new = LiveCatalogue::new(files.to_vec())?;
    let builtin = Catalogue::builtin()?;
    let added =
        new.events().map(|event| &event.name).filter(|name| builtin.by_type(name).is_none());
    let added: Vec<_> = added.collect();
    let data = json!({ "fingerprint": fingerprint(files), "added": added, "files": files });
    let mut publication = Publication::new(CHANGED, SOURCE, data);
    publication.key = Some(format!("{}:{}", fingerprint(files), ids::ordered()));
    let defaults = Defaults { id: ids::ordered(), now: clock::now() };
    let admitted = catalogue.admit_own(&Tenant::parse(TENANT)?, publication, defaults)?;
    log.publish_envelope(&admitted.subject, &admitted.message_id, &admitted.envelope, None).await?;
    catalogue.apply(files)?;
    info!(types = added.len(), "the catalogue was changed");
    Ok(())
}

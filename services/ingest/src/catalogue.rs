//! What an operator adds to the catalogue becomes an event, which every service applies; this one first, before it
//! admits anything by it.

use std::path::Path;
use std::time::Duration;

use domain::catalogue::{Catalogue, Defaults, Publication};
use domain::token::Tenant;
use runtime::catalogue::{AddedFile, CHANGED, LiveCatalogue, Told, fingerprint, read_folder};
use runtime::config::{CATALOGUE_DIR, Mistakes};
use runtime::event_log::EventLog;
use runtime::tasks::BoxError;
use runtime::telemetry::chain;
use runtime::{clock, ids};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

/// Whose the catalogue is: no customer's.
const TENANT: &str = "platform";
const SOURCE: &str = "/catalogue";

/// How soon a change is told again that the log did not take.
const AGAIN: Duration = Duration::from_secs(5);

/// The log forgets after its retention, which is days; who starts later is to find the additions all the same.
const RENEWED_AFTER: Duration = Duration::from_hours(24);
/// How often that is looked at.
const LOOKED_AT: Duration = Duration::from_mins(10);

/// What the folder adds; nothing where there is no folder.
pub(crate) type Files = Option<Vec<AddedFile>>;

/// Reads the folder again; what is wrong in it is told and changes nothing.
pub(crate) fn reload(folder: &Path, newest: &watch::Sender<Files>) -> Result<(), Mistakes> {
    let told =
        |error: &dyn std::fmt::Display| Mistakes::one(format!("{}: {error}", CATALOGUE_DIR.name));
    let files = read_folder(folder).map_err(|error| told(&error))?;
    let texts: Vec<_> = files.iter().map(|f| (f.name.clone(), f.text.clone())).collect();
    Catalogue::load(&texts).map_err(|mistakes| told(&mistakes))?;
    // What waits already gives way: the folder is told as it is now.
    newest.send_replace(Some(files));
    Ok(())
}

/// Tells the log what the folder adds, at the start, whenever it changes and before the log forgets it, until the log
/// has it.
pub(crate) async fn run(
    catalogue: LiveCatalogue,
    log: EventLog,
    mut newest: watch::Receiver<Files>,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    loop {
        let told = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            told = catalogue.told() => told,
        };
        let files = newest.borrow_and_update().clone();
        let mut pause = LOOKED_AT;
        if let Some(files) = files
            && is_due(&files, told.as_ref(), clock::unix_millis())
        {
            // The follower that learns of it may need a moment, too.
            pause = AGAIN;
            if let Err(error) = tell(&catalogue, &log, &files).await {
                error!(error = chain(&*error), "a change of the catalogue is not in force");
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = sleep(pause) => {}
            // Without a sender nobody reads a folder, and only the end is waited for.
            Ok(()) = newest.changed() => {}
        }
    }
}

/// Whether the log is to be told of these additions: it tells of others, or has nearly forgotten them.
fn is_due(files: &[AddedFile], told: Option<&Told>, now: i64) -> bool {
    match told {
        None => !files.is_empty(),
        Some(told) if told.fingerprint != fingerprint(files) => true,
        Some(told) => {
            let age = Duration::from_millis(now.saturating_sub(told.at).try_into().unwrap_or(0));
            !files.is_empty() && age >= RENEWED_AFTER
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

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str) -> String {
        format!(
            "category = \"custom\"\n[[event]]\nname = \"{name}\"\nsummary = \"One.\"\n\
             entity = \"{{id}}\"\nchannels = [\"team\"]\nexample = {{ id = \"1\" }}\n\
             [event.schema]\nrequired = [\"id\"]\n[event.schema.properties]\nid = \"id\"\n"
        )
    }

    #[test]
    fn additions_are_told_when_they_are_new_and_before_the_log_forgets_them() {
        const DAY: i64 = 24 * 60 * 60 * 1_000;
        let files = [AddedFile { name: "own.toml".to_owned(), text: event("first") }];
        let told = |files: &[AddedFile]| Some(Told { fingerprint: fingerprint(files), at: DAY });
        assert!(is_due(&files, None, DAY), "the log tells of nothing");
        assert!(is_due(&files, told(&[]).as_ref(), DAY), "the log tells of others");
        assert!(!is_due(&files, told(&files).as_ref(), 2 * DAY - 1));
        assert!(is_due(&files, told(&files).as_ref(), 2 * DAY), "a day is long enough");
        assert!(!is_due(&[], None, DAY), "nothing is nothing to tell");
        assert!(is_due(&[], told(&files).as_ref(), DAY), "they were taken away");
        assert!(!is_due(&[], told(&[]).as_ref(), 9 * DAY));
    }

    #[test]
    fn of_two_changes_the_newer_is_told_and_a_bad_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("own.toml");
        let (newest, waiting) = watch::channel(None);
        for name in ["first", "second"] {
            std::fs::write(&file, event(name)).unwrap();
            reload(folder.path(), &newest).unwrap();
        }
        std::fs::write(&file, "no = catalogue").unwrap();
        assert!(reload(folder.path(), &newest).is_err());
        let waiting = waiting.borrow();
        assert_eq!(waiting.as_ref().unwrap()[0].text, event("second"));
    }
}

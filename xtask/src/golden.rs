//! `shared/golden`: one event of every type and version that was ever written, as the log holds it.
//!
//! What is in a file was stored once and must be read for ever: files are added, never edited.

use std::path::Path;

use domain::catalogue::{Catalogue, Defaults, Delivery, EventType, Publication};
use domain::token::Tenant;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use time::macros::datetime;

use crate::step::root;

const FOLDER: &str = "shared/golden";

/// Writes what is missing; returns what it wrote.
pub(crate) fn add() -> Result<Vec<String>, String> {
    let catalogue = Catalogue::builtin().map_err(|mistakes| mistakes.to_string())?;
    let folder = root().join(FOLDER);
    std::fs::create_dir_all(&folder).map_err(|error| format!("{FOLDER}: {error}"))?;
    let mut written = Vec::new();
    for event in catalogue.events().filter(|event| event.delivery != Delivery::Ephemeral) {
        let name = format!("{}.{}.json", event.name, event.version);
        if !folder.join(&name).exists() {
            let text = format!("{:#}\n", stored(&catalogue, event)?);
            std::fs::write(folder.join(&name), text).map_err(|error| format!("{name}: {error}"))?;
            written.push(name);
        }
    }
    sums(&folder, &written)?;
    Ok(written)
}

/// Adds the digests of new files to the list by which an edit is noticed.
fn sums(folder: &Path, written: &[String]) -> Result<(), String> {
    let list = folder.join("SHA256SUMS");
    let mut text = std::fs::read_to_string(&list).unwrap_or_default();
    for name in written {
        let bytes = std::fs::read(folder.join(name)).map_err(|error| format!("{name}: {error}"))?;
        let sum: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        text.push_str(&format!("{sum}  {name}\n"));
    }
    std::fs::write(&list, text).map_err(|error| format!("SHA256SUMS: {error}"))
}

/// The type's example as the log would hold it.
fn stored(catalogue: &Catalogue, event: &EventType) -> Result<Value, String> {
    let tenant = Tenant::parse("acme").map_err(|error| error.to_string())?;
    let mut publication = Publication::new(&event.name, "/golden", event.example.clone());
    // Where the data names no channel somebody must be meant.
    publication.audience = vec!["7".to_owned()];
    let now = datetime!(2026-01-02 03:04:05.678 UTC);
    let defaults = Defaults { id: format!("golden-{}", event.name), now };
    let admitted = catalogue
        .admit_own(&tenant, publication, defaults)
        .map_err(|refusal| format!("{}: {refusal}", event.name))?;
    let headers: serde_json::Map<String, Value> = admitted
        .envelope
        .headers()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let data: Value =
        serde_json::from_slice(&admitted.envelope.data).map_err(|error| error.to_string())?;
    Ok(json!({ "subject": admitted.subject.as_str(), "headers": headers, "data": data }))
}

//! Where the platform of a data folder listens, written by `up` for the commands that talk to it.

use serde::{Deserialize, Serialize};

use crate::data::DataFolder;
use crate::failure::Failure;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Endpoints {
    pub(crate) gateway: String,
    pub(crate) ingest: String,
    pub(crate) nats: String,
    pub(crate) tenant: String,
}

impl Default for Endpoints {
    fn default() -> Self {
        Self {
            gateway: "http://127.0.0.1:8080".to_owned(),
            ingest: "http://127.0.0.1:8090".to_owned(),
            nats: "nats://127.0.0.1:4222".to_owned(),
            tenant: "default".to_owned(),
        }
    }
}

/// An address as people write it, and as a provider that is played on this machine signs it.
pub(crate) fn shown(url: &str) -> String {
    url.replacen("://127.0.0.1:", "://localhost:", 1)
}

impl Endpoints {
    /// What `up` wrote last, or the platform's usual ports.
    pub(crate) fn of(folder: &DataFolder) -> Self {
        let text = std::fs::read(folder.path().join("endpoints.json")).ok();
        text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    pub(crate) fn write(&self, folder: &DataFolder) -> Result<(), Failure> {
        let path = folder.path().join("endpoints.json");
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| Failure::failed("the addresses", error))?;
        std::fs::write(&path, text)
            .map_err(|error| Failure::failed(path.display().to_string(), error))
    }
}

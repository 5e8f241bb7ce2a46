//! The sources file as a sender sees it: which provider's secrets to sign with.

use std::path::{Path, PathBuf};

use runtime::config::{Environment, Reader, SOURCES_FILE};
use serde::Deserialize;

use crate::data::DataFolder;
use crate::failure::Failure;

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) provider: String,
    #[serde(default)]
    secrets: Vec<String>,
    #[serde(default)]
    pub(crate) public_url: String,
}

impl Source {
    /// The newest secret, which a provider signs with.
    pub(crate) fn secret(&self) -> &str {
        self.secrets.first().map_or("", String::as_str)
    }
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Sources {
    source: Vec<Source>,
}

impl Sources {
    /// What ingest reads where it is started from this environment: the operator's file, else the data folder's.
    pub(crate) fn file(folder: &DataFolder) -> PathBuf {
        Self::own_file().unwrap_or_else(|| folder.secrets_path().join("sources.toml"))
    }

    /// The operator's file.
    pub(crate) fn own_file() -> Option<PathBuf> {
        Reader::new(&Environment).given(&SOURCES_FILE).map(PathBuf::from)
    }

    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let told = |error: Box<dyn std::error::Error + Send + Sync>| {
            Failure::failed(path.display().to_string(), error)
        };
        let text = std::fs::read_to_string(path).map_err(|error| told(error.into()))?;
        toml::from_str(&text).map_err(|error| told(error.into()))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Source> {
        self.source.iter()
    }

    /// The first source of a provider.
    pub(crate) fn of(&self, provider: &str) -> Result<&Source, Failure> {
        self.source.iter().find(|source| source.provider == provider).ok_or_else(|| {
            Failure::Failed(format!("the sources file names no source of {provider}"))
        })
    }
}

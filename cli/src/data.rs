//! The data folder of a development platform: its lock, the secrets made once, and where it listens.
//! Everything in it survives restarts. It must not know what the secrets are used for.

mod endpoints;
mod lock;
mod secrets;

use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser};
use runtime::config::{DEFAULT_TENANT, Environment, Reader};

use crate::failure::Failure;

pub(crate) use endpoints::{Endpoints, shown};
pub(crate) use lock::Lock;
pub(crate) use secrets::Secrets;

const USUAL: &str = ".throughline";

/// Where the data folder is, for every command that uses one.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Location {
    /// Folder of `throughline up`: secrets, log, addresses
    #[arg(long, env = "THROUGHLINE_DATA", default_value = USUAL, value_name = "DIR", value_parser = folder())]
    pub(crate) data: PathBuf,
}

/// An empty name counts as not given, since that is how compose files say "none".
fn folder() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new()
        .map(|name| if name.is_empty() { PathBuf::from(USUAL) } else { PathBuf::from(name) })
}

#[derive(Debug, Clone)]
pub(crate) struct DataFolder(PathBuf);

impl DataFolder {
    /// The folder, made where it is not there; nobody else may read it.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        use std::os::unix::fs::DirBuilderExt as _;
        let folder = std::path::absolute(path).map_err(|error| told(path, error))?;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(|error| told(path, error))?;
        Ok(Self(folder))
    }

    /// The folder of a platform that was started before.
    pub(crate) fn existing(path: &Path) -> Result<Self, Failure> {
        let folder = Self(std::path::absolute(path).map_err(|error| told(path, error))?);
        if folder.secrets_path().is_dir() {
            return Ok(folder);
        }
        Err(Failure::Failed(format!(
            "{} holds no platform: start one with `throughline up`, or name its folder with --data",
            path.display()
        )))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn secrets_path(&self) -> PathBuf {
        self.0.join("secrets")
    }

    /// Where nats-server keeps its store.
    pub(crate) fn nats_path(&self) -> PathBuf {
        self.0.join("nats")
    }
}

/// `throughline secrets`: what the containers of a local stack share.
pub(crate) fn init(arguments: &Location) -> Result<(), Failure> {
    let mut reader = Reader::new(&Environment);
    let tenant = reader.text(&DEFAULT_TENANT);
    let tenant = reader.finish(tenant)?;
    let folder = DataFolder::create(&arguments.data)?;
    Secrets::load_or_make(&folder, Some(&tenant))?;
    Endpoints { tenant, ..Endpoints::of(&folder) }.write(&folder)?;
    crate::table::line(&format!("secrets are in {}", folder.secrets_path().display()))
}

fn told(path: &Path, error: std::io::Error) -> Failure {
    Failure::failed(format!("{}", path.display()), error)
}

//! Why a command did not do what it was asked, and the exit code that says so.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use runtime::config::{self, Mistakes};
use runtime::telemetry::chain;

/// `clap` itself uses it for arguments it cannot read.
const USAGE: u8 = 2;

#[derive(Debug)]
pub(crate) enum Failure {
    Failed(String),
    Usage(String),
    Configuration(Mistakes),
}

impl Failure {
    /// A failure with an error and all its causes.
    pub(crate) fn failed(
        what: impl AsRef<str>,
        error: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        let error: Box<dyn Error + Send + Sync> = error.into();
        Self::Failed(format!("{}: {}", what.as_ref(), chain(error.as_ref())))
    }

    pub(crate) fn configuration(mistake: impl Into<String>) -> Self {
        Self::Configuration(Mistakes::one(mistake))
    }

    /// Tells the failure on standard error.
    pub(crate) fn tell(&self) -> ExitCode {
        match self {
            Self::Failed(reason) => {
                eprintln!("{reason}");
                ExitCode::FAILURE
            }
            Self::Usage(reason) => {
                eprintln!("{reason}");
                ExitCode::from(USAGE)
            }
            Self::Configuration(mistakes) => config::refuse(mistakes),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(reason) | Self::Usage(reason) => f.write_str(reason),
            Self::Configuration(mistakes) => mistakes.fmt(f),
        }
    }
}

impl From<Mistakes> for Failure {
    fn from(mistakes: Mistakes) -> Self {
        Self::Configuration(mistakes)
    }
}

//! What is wrong with a configuration, all of it at once.

use std::fmt;
use std::process::ExitCode;

/// `EX_USAGE`: the command was used incorrectly.
pub const EXIT_CODE: u8 = 64;

/// One line per mistake, each beginning with the name of what to change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistakes(pub Vec<String>);

impl Mistakes {
    pub fn one(mistake: impl Into<String>) -> Self {
        Self(vec![mistake.into()])
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Mistakes {}

/// Tells every mistake on standard error and gives the exit code that says so.
#[expect(clippy::print_stderr, reason = "the log is not set up when configuration is refused")]
pub fn refuse(mistakes: &Mistakes) -> ExitCode {
    for mistake in &mistakes.0 {
        eprintln!("{mistake}");
    }
    ExitCode::from(EXIT_CODE)
}

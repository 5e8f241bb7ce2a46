//! One visible step of a chore: a command in the project's root, its title, and whether it succeeded.

use std::path::Path;
use std::process::Command;

pub(crate) struct Step {
    title: &'static str,
    command: Command,
}

impl Step {
    pub(crate) const fn new(title: &'static str, command: Command) -> Self {
        Self { title, command }
    }

    pub(crate) fn run(mut self) -> Result<(), String> {
        headline(self.title);
        match self.command.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => Err(self.title.to_owned()),
            Err(error) => {
                let program = self.command.get_program().to_string_lossy();
                Err(format!("{}: {program} did not start: {error}", self.title))
            }
        }
    }
}

/// Runs every step, whatever the ones before said, so that one run shows all that is wrong.
pub(crate) fn all(steps: Vec<Step>) -> Result<(), String> {
    let failed: Vec<String> = steps.into_iter().filter_map(|step| step.run().err()).collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.join(", ")) }
}

pub(crate) fn headline(title: &str) {
    println!("\n== {title}");
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."))
}

/// The cargo that runs this chore, in the project's root, as if it had been started by hand: what it told this program
/// about the program's own package would have build scripts run again, and much be built anew each time.
pub(crate) fn cargo<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

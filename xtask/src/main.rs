//! `cargo xtask`: the project's chores. It knows where the parts of the project lie and how they are checked,
//! and nothing of what they do.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that talks to a terminal"
)]

mod compatibility;
mod conformance;
mod events;
mod golden;
mod lint;
mod needs;
mod step;
mod summary;
mod test;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask <chore>

  test          install what the tests need, check format, lints and purity, run every test
  lint          format, clippy and purity only
  docs          write the documents that are generated (docs/CONFIG.md, docs/EVENTS.md, docs/COMPATIBILITY.md)
  golden        add what is missing to shared/golden: one event of every type and version
  conformance   run the official Engine.IO and Socket.IO suites five times: --suites DIR [--debug]
  fetch-nats    find or fetch nats-server and print where it is
  help          this text";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["test"] => test::run(),
        ["lint"] => step::all(lint::steps()),
        ["docs"] => docs(),
        ["golden"] => golden::add().map(|written| println!("{} written", written.len())),
        ["conformance", rest @ ..] => {
            conformance::Options::parse(rest).and_then(|options| conformance::run(&options))
        }
        ["fetch-nats"] => needs::nats_server().map(|path| println!("{}", path.display())),
        [] | ["help" | "--help" | "-h"] => {
            println!("{HELP}");
            Ok(())
        }
        other => {
            eprintln!("unknown chore: {}\n\n{HELP}", other.join(" "));
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("\nfailed: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// The table of variables comes from the declarations that the services parse with, the events from the catalogue.
fn docs() -> Result<(), String> {
    let mut command = step::cargo(["run", "--quiet", "-p", "throughline", "--", "variables"]);
    let output = command.output().map_err(|error| format!("cargo did not start: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    write("docs/CONFIG.md", &output.stdout)?;
    write("docs/COMPATIBILITY.md", compatibility::document()?.as_bytes())?;
    write("docs/EVENTS.md", events::document()?.as_bytes())
}

fn write(path: &str, text: &[u8]) -> Result<(), String> {
    std::fs::write(step::root().join(path), text).map_err(|error| format!("{path}: {error}"))
}

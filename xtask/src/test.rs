//! `cargo xtask test`: everything that is checked, in one command, ending with one line of counts.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::step::{Step, cargo, headline};
use crate::summary::Summary;
use crate::{lint, needs};

pub(crate) fn run() -> Result<(), String> {
    let needs = needs::install();
    let mut failed: Vec<String> = needs.missing.clone();
    failed.extend(lint::steps().into_iter().map(Step::run).filter_map(Result::err));
    failed.extend(lint::purity().err());
    let mut command = cargo(["test", "--workspace", "--locked", "--no-fail-fast"]);
    command.envs(needs.environment);
    let (summary, finished) = tests(command)?;
    if !finished {
        failed.push("tests".to_owned());
    }
    if failed.is_empty() {
        println!("\n{summary}");
        return Ok(());
    }
    println!("\nnot passed: {}\n{summary}", failed.join("; "));
    Err(failed.join("; "))
}

/// Runs the tests, showing what they print as it comes.
fn tests(mut command: Command) -> Result<(Summary, bool), String> {
    headline("tests");
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cargo test did not start: {error}"))?;
    let mut summary = Summary::default();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            let line = line.map_err(|error| format!("reading the tests' output: {error}"))?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            summary.read(&line);
        }
    }
    let status = child.wait().map_err(|error| format!("waiting for cargo test: {error}"))?;
    Ok((summary, status.success() && summary.failed == 0 && summary.passed > 0))
}

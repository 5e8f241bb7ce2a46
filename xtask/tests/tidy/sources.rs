//! What every source file keeps to.

use crate::tree::{Source, none, product, sources};

const LONGEST_FILE: usize = 500;
const LONGEST_MAIN: usize = 40;

/// Names of modules that decide and do no I/O, wherever they are.
const PURE: [&str; 6] =
    ["admit.rs", "session.rs", "protocol.rs", "plan.rs", "generation.rs", "judge.rs"];

fn findings(sources: &[Source], wrong: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        let lines = source.code().filter(|(_, line)| wrong(line));
        found.extend(
            lines.map(|(number, line)| format!("{}:{number}: {}", source.path, line.trim())),
        );
    }
    found
}

#[test]
fn no_file_is_long() {
    let mut long = Vec::new();
    for source in product() {
        let lines = source.product().lines().count();
        if lines > LONGEST_FILE {
            long.push(format!("{}: {lines} lines", source.path));
        }
    }
    none("a file has at most 500 lines besides its tests", long);
}

#[test]
fn the_main_function_of_a_service_fits_on_a_screen() {
    let mains = product().into_iter().filter(|it| it.path.starts_with("services/"));
    let long = mains
        .filter(|it| it.path.ends_with("/src/main.rs") && it.text.lines().count() > LONGEST_MAIN)
        .map(|it| it.path)
        .collect();
    none("main.rs reads the configuration, binds and runs", long);
}

#[test]
fn every_module_says_its_job() {
    let silent = product().into_iter().filter(|it| !it.text.starts_with("//!")).map(|it| it.path);
    none("a module opens with //!", silent.collect());
}

#[test]
fn subjects_of_events_are_written_in_one_place() {
    let elsewhere: Vec<Source> =
        product().into_iter().filter(|it| it.path != "shared/domain/src/subject.rs").collect();
    let literal = |line: &str| line.contains("\"events.") || line.contains("\"live.");
    none("domain::subject makes every subject of an event", findings(&elsewhere, literal));
}

#[test]
fn pure_modules_hold_no_io() {
    let pure: Vec<Source> = product()
        .into_iter()
        .filter(|it| {
            let name = it.path.rsplit('/').next().unwrap_or_default();
            it.path.starts_with("shared/domain/")
                || it.path.starts_with("services/") && PURE.contains(&name)
        })
        .collect();
    assert!(pure.len() > 8, "the list of pure modules matches only {} files", pure.len());
    let io = |line: &str| {
        ["tokio", "axum", "async fn", "async move", ".await", "std::fs", "std::env"]
            .iter()
            .any(|word| line.contains(word))
    };
    none("a module that decides does no I/O", findings(&pure, io));
}

#[test]
fn every_queue_has_a_bound() {
    let unbounded = |line: &str| line.contains("unbounded_channel") || line.contains("unbounded()");
    none(
        "a queue is bounded and says what happens when it is full",
        findings(&product(), unbounded),
    );
}

#[test]
fn no_test_is_switched_off() {
    let mark = ["#[ign", "ore"].concat();
    let off = sources().into_iter().filter(|it| it.text.contains(&mark)).map(|it| it.path);
    none("assert what is wrong and say so, instead of ignoring the test", off.collect());
}

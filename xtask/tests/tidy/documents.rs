//! What the documents name is there, and what a client may meet is in the documents.

use std::collections::BTreeSet;

use crate::tree::{Source, none, product, root};

type Names = BTreeSet<String>;

fn document(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every document of the project by its path.
fn documents() -> Vec<(String, String)> {
    let mut paths: Vec<String> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"]
            .map(str::to_owned)
            .into();
    for folder in ["docs", "docs/adr"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().to_string_lossy().into_owned();
            if name.ends_with(".md") {
                paths.push(format!("{folder}/{name}"));
            }
        }
    }
    paths.into_iter().map(|path| (path.clone(), document(&path))).collect()
}

/// The first cells of the tables under a heading, without their backticks.
fn table(text: &str, heading: &str) -> Names {
    let (_, under) = text.split_once(&format!("\n{heading}\n")).expect(heading);
    let level = heading.split(' ').next().unwrap();
    let ends = |line: &str| {
        let (marks, _) = line.split_once(' ').unwrap_or_default();
        !marks.is_empty() && level.starts_with(marks)
    };
    let section = under.lines().take_while(|line| !ends(line));
    let cells = section.filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    cells.map(str::to_owned).collect()
}

#[track_caller]
fn assert_same(what: &str, used: &Names, documented: &Names) {
    let missing = used.difference(documented).map(|name| format!("{name} is not documented"));
    let surplus = documented.difference(used).map(|name| format!("{name} is used nowhere"));
    none(what, missing.chain(surplus).collect());
}

/// String literals of a piece of code.
fn literals(code: &str) -> impl Iterator<Item = &str> {
    code.split('"').skip(1).step_by(2)
}

fn is_code(text: &str) -> bool {
    (3..40).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        && !text.starts_with('_')
}

fn files(prefixes: &[&str]) -> Vec<Source> {
    let inside = |source: &Source| prefixes.iter().any(|prefix| source.path.starts_with(prefix));
    let found: Vec<Source> = product().into_iter().filter(inside).collect();
    assert!(!found.is_empty(), "{prefixes:?} match no file");
    found
}

/// Whatever makes a refusal has its code as the first literal behind it.
const MAKERS: [&str; 8] = [
    "Problem::new(",
    "Refused::new(",
    "Refusal::new(",
    "bad_request(",
    "unavailable(",
    "websocket::error(",
    "why(",
    "code: \"",
];

/// Files that list codes in another form: every literal of theirs that looks like a code is one.
const LISTS: [&str; 3] = [
    "shared/runtime/src/auth/error.rs",
    "services/ingest/src/gate.rs",
    "services/ingest/src/answer.rs",
];

fn codes() -> Names {
    let mut codes = Names::new();
    for source in files(&["services/", "shared/runtime/src/http/", "shared/domain/src/replay.rs"]) {
        let product = source.product();
        // Reasons of close codes are no codes.
        let makers = MAKERS.iter().filter(|_| !source.path.ends_with("/ending.rs"));
        for maker in makers {
            for (at, _) in product.match_indices(maker) {
                let behind = product[at..].split(';').next().unwrap_or_default();
                codes.extend(literals(behind).next().filter(|it| is_code(it)).map(str::to_owned));
            }
        }
        // The codes that the services answer each other with are constants.
        if let Some((_, refusals)) = product.split_once("pub mod refusal {") {
            codes.extend(
                literals(refusals.split("\n}").next().unwrap_or_default())
                    .filter(|it| is_code(it))
                    .map(str::to_owned),
            );
        }
    }
    for source in files(&LISTS) {
        let listed = literals(source.product()).filter(|it| is_code(it) && it.contains('_'));
        codes.extend(listed.map(str::to_owned));
    }
    codes
}

#[test]
fn every_code_of_a_refusal_is_documented_and_no_other() {
    assert_same(
        "docs/API.md lists the codes",
        &codes(),
        &table(&document("docs/API.md"), "## Codes"),
    );
}

#[test]
fn every_close_code_is_documented_and_no_other() {
    let digits = |text: &str| {
        let code: String = text.chars().take_while(char::is_ascii_digit).collect();
        (code.len() == 4).then_some(code)
    };
    let mut used = Names::new();
    for source in files(&["services/gateway/src/socket/", "services/gateway/src/wires/"]) {
        let product = source.product();
        for maker in ["Self::new(", "unwrap_or(", "=> "] {
            used.extend(
                product
                    .match_indices(maker)
                    .filter_map(|(at, _)| digits(&product[at + maker.len()..])),
            );
        }
    }
    let documented = table(&document("docs/PROTOCOL.md"), "### Close codes");
    assert_same("docs/PROTOCOL.md lists the close codes", &used, &documented);
}

#[test]
fn every_reason_of_a_gap_is_documented_and_no_other() {
    let line = document("services/gateway/src/line.rs");
    let (_, names) = line.split_once("impl GapReason").unwrap();
    let names = names.split("\n}").next().unwrap();
    let used = literals(names).map(str::to_owned).collect();
    let documented = table(&document("docs/PROTOCOL.md"), "## Gaps");
    assert_same("docs/PROTOCOL.md lists the reasons of gaps", &used, &documented);
}

#[test]
fn every_metric_is_documented() {
    let operations = document("docs/OPERATIONS.md");
    let mut missing = Vec::new();
    for source in files(&["services/"]) {
        let is_metrics = ["/meters.rs", "/metrics.rs"].iter().any(|it| source.path.ends_with(it));
        let named = literals(source.product()).filter(|it| is_code(it)).filter(|it| {
            it.starts_with("gateway_") || it.starts_with("ingest_") || it.starts_with("replay_")
        });
        let names = named
            .filter(|_| is_metrics)
            .filter(|it| !operations.contains(&format!("`throughline_{it}")));
        missing.extend(names.map(str::to_owned));
    }
    none("docs/OPERATIONS.md lists the metrics", missing);
}

#[test]
fn every_path_that_a_document_names_is_there() {
    const ROOTS: [&str; 7] = ["shared/", "services/", "cli/", "nats/", "tests/", "xtask/", "docs/"];
    let mut absent = Vec::new();
    for (path, text) in documents() {
        let named = text.split('`').skip(1).step_by(2);
        for name in named.filter(|name| ROOTS.iter().any(|it| name.starts_with(it))) {
            let place = name.split(['*', '<', '{', ' ']).next().unwrap_or_default();
            if !root().join(place).exists() {
                absent.push(format!("{path}: {name}"));
            }
        }
    }
    none("a document names what is there", absent);
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let mut broken = Vec::new();
    for (path, text) in documents() {
        let folder = root().join(&path).parent().unwrap().to_path_buf();
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split(')').next().unwrap_or_default();
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            if target.contains("://") {
                continue;
            }
            let place = if file.is_empty() { root().join(&path) } else { folder.join(file) };
            let there = std::fs::read_to_string(&place).is_ok_and(|text| has_anchor(&text, anchor));
            if !there && !place.is_dir() {
                broken.push(format!("{path}: {target}"));
            }
        }
    }
    none("a link leads to a document and a heading of it", broken);
}

/// As forges make anchors of headings.
fn has_anchor(text: &str, anchor: &str) -> bool {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let made = |line: &str| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>()
    };
    anchor.is_empty() || headings.map(made).any(|it| it == anchor)
}

/// The words behind each use of a command in the documents.
fn commands<'a>(text: &'a str, program: &str) -> Vec<&'a str> {
    let uses = text.match_indices(program).map(|(at, _)| &text[at + program.len()..]);
    let words =
        uses.filter_map(|rest| rest.split(|c: char| !c.is_ascii_lowercase() && c != '-').next());
    words.filter(|word| word.len() > 1 && !word.starts_with('-')).collect()
}

#[test]
fn every_command_that_a_document_shows_is_one() {
    let arguments = document("cli/src/arguments.rs");
    let (_, variants) = arguments.split_once("enum Command {").unwrap();
    let variants = variants.split("\n}").next().unwrap().lines().map(str::trim);
    let variants = variants.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
    let known: Names =
        variants.filter_map(|line| line.split(['(', ',']).next()).map(str::to_lowercase).collect();
    let chores = document("xtask/src/main.rs");
    let mut unknown = Vec::new();
    for (path, text) in documents() {
        for program in
            ["`throughline ", "\nthroughline ", "\n$ throughline ", "cargo run --quiet -- "]
        {
            let used = commands(&text, program).into_iter().filter(|it| !known.contains(*it));
            unknown.extend(used.map(|it| format!("{path}: throughline {it}")));
        }
        let used = commands(&text, "cargo xtask ");
        let used = used.into_iter().filter(|it| !chores.contains(&format!("\n  {it} ")));
        unknown.extend(used.map(|it| format!("{path}: cargo xtask {it}")));
    }
    none("a document shows commands that there are", unknown);
}

#[test]
fn the_architecture_can_be_read_in_one_sitting() {
    let lines = document("ARCHITECTURE.md").lines().count();
    assert!(lines <= 200, "ARCHITECTURE.md has {lines} lines; what is more belongs into docs/");
}

#[test]
fn documents_name_no_place_outside_the_project() {
    let mut found = Vec::new();
    for (path, text) in documents() {
        for (number, line) in text.lines().enumerate() {
            if ["/tmp/", "/root/", "/home/"].iter().any(|place| line.contains(place)) {
                found.push(format!("{path}:{}: {line}", number + 1));
            }
        }
    }
    none("a document is true on every machine", found);
}

#[test]
fn every_key_of_a_configuration_file_is_documented() {
    let files = document("docs/FILES.md");
    let sources = document("services/ingest/src/sources/file.rs");
    let (_, keys) = sources.split_once("const KEYS").unwrap();
    let keys = keys.split(';').nth(1).unwrap_or_default();
    let applications = document("shared/runtime/src/auth/applications/file.rs");
    let (_, reader) = applications.split_once("fn application(").unwrap();
    let reader = reader.split("\n}").next().unwrap_or_default();
    let mut named: Vec<&str> = literals(keys).collect();
    named.extend(literals(reader).filter(|it| is_code(it)));
    assert!(named.len() > 15, "{named:?}");
    let missing = named.into_iter().filter(|key| !files.contains(&format!("| `{key}` |")));
    let missing = missing.filter(|key| !["ezri", "acme", "never"].contains(key));
    none("docs/FILES.md explains the keys", missing.map(str::to_owned).collect());
}

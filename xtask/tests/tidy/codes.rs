//! What a client or an operator may meet is in the documents: codes, close codes, gaps, metrics, keys of files.

use crate::documents::{Names, document, literals};
use crate::tree::{Source, none, product};

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
const MAKERS: [&str; 9] = [
    "Problem::new(",
    "Refused::new(",
    "Refusal::new(",
    "Rejection::new(",
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
    let makers = [
        "services/",
        "shared/runtime/src/http/",
        "shared/domain/src/replay.rs",
        "shared/domain/src/aggregates/",
    ];
    for source in files(&makers) {
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
            ["gateway_", "ingest_", "replay_", "ai_"].iter().any(|service| it.starts_with(service))
        });
        let names = named
            .filter(|_| is_metrics)
            .filter(|it| !operations.contains(&format!("`throughline_{it}")));
        missing.extend(names.map(str::to_owned));
    }
    none("docs/OPERATIONS.md lists the metrics", missing);
}

/// How a reader of a settings file asks for a key, or names one among others before it asks.
const ASKS: [&str; 7] =
    [".text(", ".texts(", ".required(", ".required_as(", ".count(", ".flag(", ".take("];

/// The keys that a reader of a settings file takes.
fn keys(reader: &str) -> Vec<String> {
    let reader = reader.split("#[cfg(test)]").next().unwrap_or_default();
    let reader = reader.replace("\\\"", "'");
    let mut keys = Vec::new();
    let mut rest = &*reader;
    while let Some((before, behind)) = rest.split_once('"') {
        let (literal, behind) = behind.split_once('"').unwrap();
        let is_asked = ASKS.iter().any(|ask| before.trim_end().ends_with(ask));
        let is_listed = before.ends_with('(') && behind.starts_with(", &mut ");
        if is_asked || is_listed {
            keys.push(literal.to_owned());
        }
        rest = behind;
    }
    keys
}

#[test]
fn every_key_of_the_ai_sides_file_is_documented() {
    let reader = document("services/ai-proxy/src/settings/file.rs");
    let keys = keys(&reader);
    assert!(keys.len() > 15, "{keys:?}");
    let explained = document("docs/AI.md");
    let missing = keys.into_iter().filter(|key| !explained.contains(&format!("`{key}`")));
    none("docs/AI.md explains the keys", missing.collect());
}

#[test]
fn every_key_of_a_configuration_file_is_documented() {
    let files = document("docs/FILES.md");
    let sources = document("services/ingest/src/sources/file.rs");
    let chains = document("shared/domain/src/escalation/file.rs");
    let applications = document("shared/runtime/src/auth/applications/file.rs");
    let (_, reader) = applications.split_once("fn application(").unwrap();
    let reader = reader.split("\n}").next().unwrap_or_default();
    let mut named = keys(&sources);
    assert!(named.len() > 10, "{named:?}");
    for key in keys(&chains) {
        assert!(files.contains(&format!("`{key}`")), "docs/FILES.md does not explain {key}");
    }
    named.extend(literals(reader).filter(|it| is_code(it)).map(str::to_owned));
    assert!(named.len() > 15, "{named:?}");
    let missing = named.into_iter().filter(|key| !files.contains(&format!("| `{key}` |")));
    let missing = missing.filter(|key| !["ezri", "acme", "never"].contains(&&**key));
    none("docs/FILES.md explains the keys", missing.collect());
}

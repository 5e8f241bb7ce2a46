//! What the documents name is there.

use std::collections::BTreeSet;

use crate::tree::{none, root, sources};

pub(crate) type Names = BTreeSet<String>;

pub(crate) fn document(path: &str) -> String {
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

/// String literals of a piece of code.
pub(crate) fn literals(code: &str) -> impl Iterator<Item = &str> {
    code.split('"').skip(1).step_by(2)
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
fn every_test_that_a_document_names_is_there() {
    let all: String = sources().into_iter().map(|source| source.text).collect();
    let mut absent = Vec::new();
    for (path, text) in documents() {
        let named = text.split('`').skip(1).step_by(2);
        let is_test = |name: &&str| {
            name.matches('_').count() >= 4
                && !name.starts_with("throughline_")
                && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        };
        let gone = named.filter(is_test).filter(|name| !all.contains(&format!("fn {name}(")));
        absent.extend(gone.map(|name| format!("{path}: {name}")));
    }
    none("a document names tests that there are", absent);
}

/// The names that operators rely on. A variable may be added; none of these goes or is renamed.
const PROMISED: &str = "NATS_URL NATS_CREDS LISTEN OPS_LISTEN TLS_CERT_FILE TLS_KEY_FILE RUST_LOG LOG_FORMAT \
    OTEL_EXPORTER_OTLP_ENDPOINT PLATFORM_KEY PLATFORM_KEY_PREVIOUS JWT_SECRET JWT_PUBLIC_KEY_FILE JWT_JWKS_URL \
    JWT_ISSUER JWT_AUDIENCE DEFAULT_TENANT ALLOWED_ORIGINS FRONTEND_URL APPLICATIONS_FILE SOURCES_FILE \
    ESCALATION_FILE CATALOGUE_DIR AI_PROVIDER AI_SERVICE_URL AI_API_KEY AI_MODEL AI_TIMEOUT_MS TWILIO_ACCOUNT_SID \
    TWILIO_AUTH_TOKEN TWILIO_API_URL STRICT_DURABILITY GATEWAY_LISTEN INGEST_LISTEN NATS_PORT OPS_PORT_BASE \
    NATS_SERVER_BIN";

#[test]
fn every_variable_that_is_promised_is_declared() {
    // Generated from the declarations, and compared with them by a test of its own.
    let declared = document("docs/CONFIG.md");
    let is_declared = |name: &&str| declared.contains(&format!("| `{name}` |"));
    let absent = PROMISED.split_whitespace().filter(|name| !is_declared(name));
    none("a promised variable is declared", absent.map(str::to_owned).collect());
}

//! Who may depend on whom.

use crate::tree::{manifests, none};

const SERVICES: [&str; 4] = ["ingest", "ai-proxy", "gateway", "replay"];

/// The dependencies of a manifest, those of its tests included.
fn dependencies(manifest: &toml::Table) -> Vec<&str> {
    ["dependencies", "dev-dependencies", "build-dependencies"]
        .iter()
        .filter_map(|section| manifest.get(*section)?.as_table())
        .flat_map(|table| table.keys().map(String::as_str))
        .collect()
}

/// The crates outside `allowed` that depend on one of `names`.
fn outsiders(names: &[&str], allowed: &[&str]) -> Vec<String> {
    manifests()
        .iter()
        .filter(|(path, _)| !allowed.iter().any(|it| path.starts_with(it)))
        .flat_map(|(path, manifest)| {
            let found = dependencies(manifest).into_iter().filter(|name| names.contains(name));
            found.map(|name| format!("{path}: {name}")).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn services_never_depend_on_each_other() {
    let findings = outsiders(&SERVICES, &["cli/", "tests/"]);
    none("services meet on NATS alone; only the CLI and the tests put them together", findings);
}

#[test]
fn only_runtime_and_the_tests_name_the_nats_client() {
    none("async-nats is runtime's own", outsiders(&["async-nats"], &["shared/runtime/", "tests/"]));
}

#[test]
fn the_pure_core_depends_on_nothing_that_does_io() {
    let io = ["tokio", "hyper", "axum", "rand", "uuid", "runtime", "tracing", "tempfile"];
    let manifests = manifests();
    let (_, domain) =
        manifests.iter().find(|(path, _)| path == "shared/domain/Cargo.toml").unwrap();
    let normal = domain.get("dependencies").and_then(toml::Value::as_table).unwrap();
    none(
        "domain stays pure",
        normal.keys().filter(|name| io.contains(&name.as_str())).cloned().collect(),
    );
}

#[test]
fn every_dependency_takes_its_version_from_the_workspace() {
    let findings = manifests()
        .iter()
        .flat_map(|(path, manifest)| {
            let tables = ["dependencies", "dev-dependencies"];
            tables
                .iter()
                .filter_map(|section| manifest.get(*section)?.as_table())
                .flatten()
                .filter(|(_, it)| it.get("workspace") != Some(&toml::Value::Boolean(true)))
                .map(|(name, _)| format!("{path}: {name}"))
                .collect::<Vec<_>>()
        })
        .collect();
    none("one version for one crate", findings);
}

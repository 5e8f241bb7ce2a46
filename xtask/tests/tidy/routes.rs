//! The OpenAPI document names the paths that are served, and no others.

use crate::documents::{Names, document};
use crate::tree::{none, product};

/// Served by a router of its own, under a prefix rather than at a path.
const PREFIXES: [&str; 1] = ["/socket.io/"];

fn served() -> Names {
    let services = ["services/gateway/src/", "services/ingest/src/"];
    let sources = product();
    let code = sources
        .iter()
        .filter(|source| services.iter().any(|service| source.path.starts_with(service)))
        .map(|source| source.product());
    let paths = code.flat_map(|text| {
        text.split(".route(")
            .skip(1)
            .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
    });
    paths.chain(PREFIXES).map(str::to_owned).collect()
}

fn described() -> Names {
    let text = document("services/gateway/openapi.json");
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    document["paths"].as_object().unwrap().keys().cloned().collect()
}

#[test]
fn the_openapi_document_names_exactly_the_paths_that_are_served() {
    let (served, described) = (served(), described());
    assert!(served.len() > 15, "{served:?}");
    let missing = served.difference(&described).map(|path| format!("{path} is not described"));
    let surplus = described.difference(&served).map(|path| format!("{path} is served nowhere"));
    none("paths", missing.chain(surplus).collect());
}

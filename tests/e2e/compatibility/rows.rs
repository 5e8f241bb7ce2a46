//! The rows that an application's journey must prove, and no others.

use std::collections::BTreeSet;
use std::path::Path;

use toml::Table;

/// Compares what was proved with what the file lists for this application.
#[track_caller]
pub(super) fn compare(seed: &str, proved: &BTreeSet<String>) {
    let listed = listed(seed);
    let missing: Vec<_> = listed.difference(proved).collect();
    let surplus: Vec<_> = proved.difference(&listed).collect();
    assert!(missing.is_empty(), "{seed}: not proved: {missing:?}");
    assert!(surplus.is_empty(), "{seed}: proved, and not listed as such: {surplus:?}");
}

fn listed(seed: &str) -> BTreeSet<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("compatibility.toml");
    let file: Table = std::fs::read_to_string(file).unwrap().parse().unwrap();
    let seeds = file["seed"].as_array().unwrap();
    let found = seeds.iter().find(|entry| entry["id"].as_str() == Some(seed)).unwrap();
    let rows = found["rows"].as_array().unwrap().iter();
    let here = rows.filter(|row| row.get("test").is_none() && row.get("not_yet").is_none());
    here.map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

//! What is called compatible is tested.

use toml::{Table, Value};

use crate::documents::{Names, document};
use crate::tree::{none, sources};

#[test]
fn every_row_of_the_compatibility_table_names_a_test_that_there_is() {
    let tests: String = sources()
        .into_iter()
        .filter(|source| source.path.starts_with("tests/e2e/"))
        .map(|source| source.text)
        .collect();
    let file: Table = document("tests/compatibility.toml").parse().unwrap();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for seed in file["seed"].as_array().unwrap() {
        let mut ids = Names::new();
        for row in seed["rows"].as_array().unwrap() {
            let id = row["id"].as_str().unwrap();
            count += 1;
            if !ids.insert(id.to_owned()) {
                wrong.push(format!("{} {id}: twice", seed["id"]));
            }
            let test = row.get("test").unwrap_or(&seed["test"]).as_str().unwrap();
            if !tests.contains(&format!("async fn {test}(")) {
                wrong.push(format!("{} {id}: no test {test}", seed["id"]));
            }
            if row.get("not_yet").and_then(Value::as_str) == Some("") {
                wrong.push(format!("{} {id}: not yet, and no reason", seed["id"]));
            }
        }
    }
    assert!(count > 100, "only {count} rows");
    none("a row of tests/compatibility.toml is proved by a test, or says why not", wrong);
}

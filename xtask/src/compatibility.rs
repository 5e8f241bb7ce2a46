//! `docs/COMPATIBILITY.md`, made from the rows that the end-to-end tests prove.

use std::fmt::Write as _;

use toml::{Table, Value};

use crate::step::root;

const ROWS: &str = "tests/compatibility.toml";

const HEAD: &str = "\
# Compatibility

What the clients of five existing applications do, and whether the platform does what they expect of it.
Each application's journey is a program in `tests/clients/applications/seeds`, written from that application's own guide with the stock packages that it uses; the code of the clients is unchanged, the URL is their configuration.
This document is generated (`cargo xtask docs`) from `tests/compatibility.toml`; the tests fail when a journey does not prove a row that stands here as proved.

";

pub(crate) fn document() -> Result<String, String> {
    let text = std::fs::read_to_string(root().join(ROWS)).map_err(|e| format!("{ROWS}: {e}"))?;
    let file: Table = text.parse().map_err(|error| format!("{ROWS}: {error}"))?;
    render(&file).ok_or_else(|| format!("{ROWS}: an application or a row lacks a key"))
}

/// `None` where something is missing.
fn render(file: &Table) -> Option<String> {
    let mut text = HEAD.to_owned();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "| Application | Rows | Proved |\n|---|---|---|");
    let mut sections = String::new();
    for seed in file.get("seed")?.as_array()? {
        let (id, title) = (get(seed, "id")?, get(seed, "title")?);
        let rows = seed.get("rows")?.as_array()?;
        let proved = rows.iter().filter(|row| row.get("not_yet").is_none()).count();
        let heading = format!("{id}: {title}");
        let _ = writeln!(text, "| {heading} | {} | {proved} |", rows.len());
        let (client, test) = (get(seed, "client")?, get(seed, "test")?);
        let _ = writeln!(sections, "\n## {heading}\n\nClient: {client}.\nTest: `{test}`.\n");
        let _ = writeln!(sections, "| What | What is seen | Works |\n|---|---|---|");
        for row in rows {
            let (item, shows) = (get(row, "item")?, get(row, "shows")?);
            let _ = writeln!(sections, "| {item} | {shows} | {} |", state(row));
        }
    }
    text.push_str(&sections);
    Some(text)
}

fn state(row: &Value) -> String {
    match (get(row, "not_yet"), get(row, "test")) {
        (Some(what), _) => format!("not yet: {what}"),
        (None, Some(test)) => format!("yes: `{test}`"),
        (None, None) => "yes".to_owned(),
    }
}

fn get<'a>(table: &'a Value, key: &str) -> Option<&'a str> {
    table.get(key)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_compatibility_is_what_the_tests_prove() {
        let written = std::fs::read_to_string(root().join("docs/COMPATIBILITY.md")).unwrap();
        assert!(
            written == document().unwrap(),
            "docs/COMPATIBILITY.md is out of date: run `cargo xtask docs`"
        );
    }

    #[test]
    fn a_row_that_nothing_proves_is_not_called_proved() {
        let file = r#"
            [[seed]]
            id = "9"
            title = "nine"
            client = "c"
            test = "t"
            rows = [{ id = "a", item = "A", shows = "a" }, { id = "b", item = "B", shows = "b", not_yet = "c" }]"#;
        let text = render(&file.parse().unwrap()).unwrap();
        assert!(text.contains("| 9: nine | 2 | 1 |"), "{text}");
        assert!(text.contains("| A | a | yes |\n| B | b | not yet: c |"), "{text}");
        assert_eq!(render(&"[[seed]]\nid = '9'".parse().unwrap()), None);
    }
}

//! `docs/CONFIG.md`, made from the declarations that the services read their configuration by.

use runtime::config::{VARIABLES, Variable};

use crate::failure::Failure;

const HEAD: &str = "\
# Configuration

Every service is configured by its environment.
All mistakes are told at once, and the process ends with exit code 64.
A secret may also come from a file: `NAME_FILE` holds its path.
Files named here are TOML and are read again on SIGHUP; a bad new file is refused and the old one stays in force.
This document is generated (`cargo xtask docs`) from the declarations that the services read by.

| Variable | Default | Meaning |
|---|---|---|
";

const UP_HEAD: &str = "
## `throughline up`

`up` reads the variables above as the services do and makes up development values for those that are not set.
";

const UP_TABLE: &str = "\
| Variable | Default | Meaning |
|---|---|---|
";

pub(crate) fn run() -> Result<(), Failure> {
    crate::table::write_out(document().as_bytes())
}

fn document() -> String {
    let rows = |variables: &[Variable]| variables.iter().map(row).collect::<String>();
    let own = rows(crate::up::VARIABLES);
    let log = crate::up::LOG;
    format!(
        "{HEAD}{}{UP_HEAD}`RUST_LOG` is `{log}` then and for `throughline streams`, since a terminal is for what goes wrong.\n\
         These besides:\n\n{UP_TABLE}{own}",
        rows(VARIABLES)
    )
}

fn row(variable: &Variable) -> String {
    let secret = if variable.secret { " Secret." } else { "" };
    let default = match variable.shown_default() {
        plain @ ("-" | "required") => plain.to_owned(),
        value => format!("`{value}`"),
    };
    format!("| `{}` | {default} | {}{secret} |\n", variable.name, variable.meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_document_is_what_the_declarations_say() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/CONFIG.md");
        let written = std::fs::read_to_string(path).unwrap();
        assert!(written == document(), "docs/CONFIG.md is out of date: run `cargo xtask docs`");
    }

    #[test]
    fn every_variable_is_declared_once() {
        let mut names: Vec<_> =
            VARIABLES.iter().chain(crate::up::VARIABLES).map(|it| it.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }
}

//! What is checked without running the product: format, lints, and that the pure core stays pure.

use crate::step::{Step, cargo, headline};

const CLIPPY: [&str; 6] =
    ["clippy", "--workspace", "--all-targets", "--locked", "--", "-Dwarnings"];

pub(crate) fn steps() -> Vec<Step> {
    vec![
        Step::new("format", cargo(["fmt", "--all", "--", "--check"])),
        Step::new("clippy", cargo(CLIPPY)),
    ]
}

/// What must not be among the crates that `domain` is built from.
const IMPURE: [&str; 6] = ["tokio", "async-nats", "axum", "hyper", "rand", "uuid"];

/// `domain` cannot do I/O because nothing it is built from can.
pub(crate) fn purity() -> Result<(), String> {
    headline("purity of domain");
    let tree = ["tree", "-p", "domain", "-e", "normal", "--prefix", "none", "--format", "{p}"];
    let output = cargo(tree).output().map_err(|error| format!("cargo tree: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo tree: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let listing = String::from_utf8_lossy(&output.stdout).into_owned();
    let found: Vec<&str> = IMPURE.into_iter().filter(|name| lists(&listing, name)).collect();
    if found.is_empty() {
        println!("domain is built from none of {}", IMPURE.join(", "));
        Ok(())
    } else {
        Err(format!("domain is built from {}: it must stay pure", found.join(", ")))
    }
}

fn lists(listing: &str, name: &str) -> bool {
    listing.lines().any(|line| line.split(' ').next() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_is_found_by_its_whole_name() {
        let listing = "domain v0.1.0 (/x)\ntokio-util v0.7.1\n";
        assert!(!lists(listing, "tokio"));
        assert!(lists(listing, "tokio-util"));
    }
}

//! The project's own files, read once per test.

use std::path::{Path, PathBuf};

pub(crate) struct Source {
    /// Relative to the project's root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// The text above the file's own test module. One that is a file besides is only named, and cuts nothing off.
    pub(crate) fn product(&self) -> &str {
        self.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
    }

    /// Lines of the product with their numbers, without comments.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.product()
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .map(|(index, line)| (index + 1, line))
    }

    /// Code that is built only for tests.
    fn is_test(&self) -> bool {
        ["/tests/", "/tests.rs", "/benches/", "/examples/", "test_support"]
            .iter()
            .any(|part| self.path.contains(part))
            || self.path.starts_with("tests/")
    }
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Every Rust file of the project.
pub(crate) fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    walk(&root(), "rs", &mut found);
    assert!(found.len() > 20, "the walk found only {} files", found.len());
    found
}

/// Every Rust file that is part of the product.
pub(crate) fn product() -> Vec<Source> {
    sources().into_iter().filter(|source| !source.is_test()).collect()
}

/// Every manifest, parsed.
pub(crate) fn manifests() -> Vec<(String, toml::Table)> {
    let mut found = Vec::new();
    walk(&root(), "toml", &mut found);
    let manifests = found.into_iter().filter(|source| source.path.ends_with("/Cargo.toml"));
    manifests.map(|source| (source.path, source.text.parse().unwrap())).collect()
}

fn walk(folder: &Path, extension: &str, found: &mut Vec<Source>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" && name != "node_modules" {
                walk(&path, extension, found);
            }
        } else if path.extension().is_some_and(|it| it == extension) {
            let text = std::fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
            found.push(Source { path, text });
        }
    }
}

/// Fails with every finding, so that one run shows all of them.
#[track_caller]
pub(crate) fn none(rule: &str, findings: Vec<String>) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}

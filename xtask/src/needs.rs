//! What the tests need besides Rust: nats-server, the packages of the JavaScript and Python clients, a browser.
//! Installed where that is possible, named where it is not.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use runtime::config::Environment;
use runtime::nats_binary;

use crate::step::{Step, headline, root};

#[derive(Default)]
pub(crate) struct Needs {
    /// What the tests are told: where each thing is.
    pub(crate) environment: Vec<(&'static str, OsString)>,
    /// What could not be installed, with the reason.
    pub(crate) missing: Vec<String>,
}

pub(crate) fn install() -> Needs {
    let mut needs = Needs::default();
    needs.take("NATS_SERVER_BIN", nats_server());
    needs.take("E2E_PYTHON", python());
    let packages = package_folders(&root().join("tests"));
    for folder in &packages {
        needs.missing.extend(npm(folder).err());
    }
    if packages.iter().any(|folder| mentions_browser(folder)) {
        needs.take("CHROMIUM_BIN", chromium());
    }
    needs
}

impl Needs {
    fn take(&mut self, name: &'static str, found: Result<PathBuf, String>) {
        match found {
            Ok(path) => self.environment.push((name, path.into_os_string())),
            Err(reason) => self.missing.push(reason),
        }
    }
}

/// Finds nats-server as `throughline up` does, and fetches it where it is not there.
pub(crate) fn nats_server() -> Result<PathBuf, String> {
    headline("nats-server");
    nats_binary::find_or_fetch(&Environment).map_err(|reason| reason.to_string())
}

/// An environment of the tests' own, so that nothing is installed into the machine's Python.
fn python() -> Result<PathBuf, String> {
    let folder = root().join("target/python");
    let python = folder.join("bin/python");
    if !python.exists() {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv"]).arg(&folder);
        Step::new("python environment", venv).run()?;
    }
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
        .arg(root().join("xtask/requirements.txt"));
    Step::new("python packages", pip).run()?;
    Ok(python)
}

/// The folders of the tests that hold a `package.json`, down to two levels.
fn package_folders(tests: &Path) -> Vec<PathBuf> {
    let mut folders = vec![tests.to_path_buf()];
    for _ in 0..2 {
        let deeper: Vec<PathBuf> = folders.iter().flat_map(|folder| subfolders(folder)).collect();
        folders.extend(deeper);
    }
    folders.retain(|folder| folder.join("package.json").exists());
    folders.sort();
    folders.dedup();
    folders
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir() && !path.ends_with("node_modules"))
        .collect()
}

fn npm(folder: &Path) -> Result<(), String> {
    let lock = folder.join("package-lock.json");
    let installed = folder.join("node_modules/.package-lock.json");
    if newer(&installed, &lock) && newer(&installed, &folder.join("package.json")) {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    npm.arg(if lock.exists() { "ci" } else { "install" })
        .args(["--no-audit", "--no-fund"])
        .current_dir(folder);
    Step::new("npm packages", npm).run()
}

fn newer(one: &Path, other: &Path) -> bool {
    let changed = |path: &Path| path.metadata().and_then(|data| data.modified()).ok();
    matches!((changed(one), changed(other)), (Some(one), Some(other)) if one >= other)
}

fn mentions_browser(folder: &Path) -> bool {
    std::fs::read_to_string(folder.join("package.json"))
        .is_ok_and(|text| text.contains("playwright") || text.contains("puppeteer"))
}

fn chromium() -> Result<PathBuf, String> {
    if let Some(found) = installed_chromium() {
        return Ok(found);
    }
    let packages = ["install", "-y", "-qq", "--no-install-recommends", "chromium"];
    for arguments in [["update", "-qq"].as_slice(), &packages] {
        let mut apt = Command::new("apt-get");
        apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
        Step::new("chromium by apt", apt).run().map_err(|_| no_chromium())?;
    }
    installed_chromium().ok_or_else(no_chromium)
}

fn installed_chromium() -> Option<PathBuf> {
    ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
}

fn no_chromium() -> String {
    "Chromium is missing and apt could not install it (root on Debian can): \
     install it as /usr/bin/chromium"
        .to_owned()
}

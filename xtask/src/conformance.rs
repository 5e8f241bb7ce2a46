//! `cargo xtask conformance`: the official Engine.IO and Socket.IO suites, run several times in a row against the
//! gateway's listener for them. The suites are the caller's; nothing of them belongs to the project.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::step::{Step, cargo, headline, root};

mod report;

use report::Report;

/// Where the suites expect their listener.
const ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 3000);
const LISTENS_WITHIN: Duration = Duration::from_secs(10);
const RUNS: usize = 5;

/// A suite, where it lies in its authors' repository, and how many tests it has.
struct Suite {
    name: &'static str,
    folder: &'static str,
    tests: u64,
}

const SUITES: [Suite; 2] = [
    Suite { name: "Engine.IO v4", folder: "engine.io-protocol/v4-test-suite", tests: 25 },
    Suite { name: "Socket.IO v5", folder: "socket.io-protocol/v5-test-suite", tests: 32 },
];

/// What the caller asked for.
pub(crate) struct Options {
    suites: PathBuf,
    profile: Profile,
}

#[derive(Clone, Copy)]
enum Profile {
    Release,
    /// Where building a release costs more than the answer is worth.
    Debug,
}

impl Options {
    pub(crate) fn parse(arguments: &[&str]) -> Result<Self, String> {
        let (profile, rest) = match arguments {
            ["--debug", rest @ ..] | [rest @ .., "--debug"] => (Profile::Debug, rest),
            rest => (Profile::Release, rest),
        };
        match rest {
            ["--suites", folder] => Ok(Self { suites: PathBuf::from(folder), profile }),
            _ => Err("conformance needs `--suites DIR`: a checkout of the repository \
                      socketio/socket.io, or its folder docs"
                .to_owned()),
        }
    }
}

pub(crate) fn run(options: &Options) -> Result<(), String> {
    let folders = SUITES.map(|suite| find(&options.suites, &suite));
    let mut suites = Vec::new();
    for (suite, folder) in SUITES.into_iter().zip(folders) {
        let folder = folder?;
        install(&folder)?;
        suites.push((suite, folder));
    }
    let _listener = Listener::start(options.profile)?;
    headline("suites");
    let mut failed = 0;
    for run in 1..=RUNS {
        for (suite, folder) in &suites {
            let report = mocha(folder)?;
            println!("run {run} of {RUNS}  {}  {report} of {}", suite.name, suite.tests);
            if !report.holds(suite.tests) {
                failed += 1;
                report.failures.iter().for_each(|failure| println!("    {failure}"));
            }
        }
    }
    let all = RUNS * suites.len();
    println!("\n{} of {all} runs without a failure", all - failed);
    if failed == 0 { Ok(()) } else { Err(format!("{failed} of {all} runs of the suites")) }
}

fn find(suites: &Path, suite: &Suite) -> Result<PathBuf, String> {
    let suites = suites.canonicalize().map_err(|error| format!("{}: {error}", suites.display()))?;
    if suites.starts_with(root()) {
        return Err("the suites are not the project's: keep them outside of it".to_owned());
    }
    let places = [suites.join("docs").join(suite.folder), suites.join(suite.folder)];
    let found = places.into_iter().find(|place| place.join("test-suite.js").exists());
    found.ok_or_else(|| format!("{} is not in {}", suite.folder, suites.display()))
}

fn install(folder: &Path) -> Result<(), String> {
    if folder.join("node_modules").exists() {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund"]).current_dir(folder);
    Step::new("npm packages of a suite", npm).run()
}

fn mocha(folder: &Path) -> Result<Report, String> {
    let output = Command::new("node")
        .args(["node_modules/mocha/bin/mocha", "--reporter", "json", "test-suite.js"])
        .current_dir(folder)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("node did not start: {error}"))?;
    Report::parse(&String::from_utf8_lossy(&output.stdout))
}

/// The listener as a process of its own, gone with this.
struct Listener(Child);

impl Listener {
    fn start(profile: Profile) -> Result<Self, String> {
        if TcpStream::connect(ADDRESS).is_ok() {
            return Err(format!("something else listens on {ADDRESS}, where the suites look"));
        }
        let mut build = cargo(["build", "--locked", "--workspace", "--example", "conformance"]);
        if matches!(profile, Profile::Release) {
            build.arg("--release");
        }
        Step::new("listener", build).run()?;
        let mut listener = Self(
            Command::new(Self::binary(profile))
                .arg(ADDRESS.to_string())
                .spawn()
                .map_err(|error| format!("the listener did not start: {error}"))?,
        );
        let until = Instant::now() + LISTENS_WITHIN;
        while TcpStream::connect(ADDRESS).is_err() {
            let has_ended = !matches!(listener.0.try_wait(), Ok(None));
            if has_ended || Instant::now() > until {
                return Err(format!("the listener does not listen on {ADDRESS}"));
            }
            sleep(Duration::from_millis(50));
        }
        Ok(listener)
    }

    fn binary(profile: Profile) -> PathBuf {
        let target = std::env::var_os("CARGO_TARGET_DIR");
        let target = target.map_or_else(|| root().join("target"), PathBuf::from);
        let profile = match profile {
            Profile::Release => "release",
            Profile::Debug => "debug",
        };
        target.join(profile).join("examples/conformance")
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // It may have ended by itself, and then there is nothing to do.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

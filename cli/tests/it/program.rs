//! Runs the program in a temporary data folder on ports of its own.

use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    /// One of its commands, with nothing of this machine's configuration.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_throughline"));
        command.args(arguments).current_dir(self.0.path()).env("THROUGHLINE_DATA", self.data());
        for name in ["NATS_URL", "GATEWAY_URL", "INGEST_URL", "THROUGHLINE_TOKEN", "JWT_SECRET"] {
            command.env_remove(name);
        }
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// What the command printed; fails the test if the command did.
    #[track_caller]
    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn up(&self, arguments: &[&str]) -> Up {
        self.up_at("127.0.0.1:0", arguments)
    }

    /// With a gateway at this address, for clients that stay while it comes and goes.
    pub(crate) fn up_at(&self, gateway: &str, arguments: &[&str]) -> Up {
        let mut command = self.up_command(arguments);
        command.env("GATEWAY_LISTEN", gateway);
        Up::start(command)
    }

    pub(crate) fn up_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(&[&["up"], arguments].concat());
        command.env("GATEWAY_LISTEN", "127.0.0.1:0").env("INGEST_LISTEN", "127.0.0.1:0");
        command.env("NATS_PORT", "0").env("OPS_PORT_BASE", "0");
        command
    }

    /// The process id of the folder's nats-server.
    pub(crate) fn nats_pid(&self) -> Pid {
        let text = std::fs::read_to_string(self.data().join("nats/nats-server.pid")).unwrap();
        Pid::from_raw(text.trim().parse().unwrap()).unwrap()
    }
}

impl Drop for Folder {
    /// A failed test must not leave a server behind.
    fn drop(&mut self) {
        if self.data().join("nats/nats-server.pid").exists() {
            let _ended = kill_process(self.nats_pid(), Signal::KILL);
        }
    }
}

pub(crate) struct Up {
    child: Child,
    lines: Receiver<String>,
    errors: Receiver<String>,
    pub(crate) printed: String,
    /// What it said on standard error.
    pub(crate) told: String,
}

impl Up {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = lines(child.stdout.take().unwrap());
        let errors = lines_shown(child.stderr.take().unwrap());
        Self { child, lines, errors, printed: String::new(), told: String::new() }
    }

    /// Waits for a line that holds these words.
    #[track_caller]
    pub(crate) fn says(&mut self, words: &str) {
        wait_for(&self.lines, &mut self.printed, words);
    }

    /// The same on standard error.
    #[track_caller]
    pub(crate) fn tells(&mut self, words: &str) {
        wait_for(&self.errors, &mut self.told, words);
    }

    /// All that it said on standard error, once it has ended.
    pub(crate) fn all_told(&mut self) -> &str {
        while let Ok(line) = self.errors.recv_timeout(PATIENCE) {
            self.told.push_str(&line);
            self.told.push('\n');
        }
        &self.told
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// The exit code, once it has ended.
    #[track_caller]
    pub(crate) fn ends(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::yield_now();
        }
    }
}

fn lines(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = sync_channel(1_000);
    std::thread::spawn(move || {
        let output = BufReader::new(output);
        output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    lines
}

/// They are a failed test's own report besides.
#[expect(clippy::print_stderr, reason = "shown for a test that fails")]
fn lines_shown(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, shown) = sync_channel(1_000);
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            eprintln!("{line}");
            // Nobody has to read them; the program must be able to write on.
            let _full = sender.try_send(line);
        }
    });
    shown
}

#[track_caller]
fn wait_for(lines: &Receiver<String>, so_far: &mut String, words: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !so_far.contains(words) {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(line) = lines.recv_timeout(left) else {
            panic!("never said {words:?}, but:\n{so_far}");
        };
        so_far.push_str(&line);
        so_far.push('\n');
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}

pub(crate) fn is_alive(pid: Pid) -> bool {
    let stat = format!("/proc/{}/stat", pid.as_raw_nonzero());
    let is_zombie = std::fs::read_to_string(Path::new(&stat))
        .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')));
    test_kill_process(pid).is_ok() && !is_zombie
}

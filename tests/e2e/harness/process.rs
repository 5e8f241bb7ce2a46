//! One service as a process of its own.

use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::Service;

pub(super) struct Process {
    pub(super) address: SocketAddr,
    pub(super) operations: SocketAddr,
    binary: &'static str,
    environment: Vec<(String, String)>,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    pub(super) fn new(service: Service, folder: &Path, environment: Vec<(String, String)>) -> Self {
        let (address, operations) = (super::ports::free(), super::ports::free());
        let mut environment = environment;
        environment.push(("LISTEN".to_owned(), address.to_string()));
        environment.push(("OPS_LISTEN".to_owned(), operations.to_string()));
        let binary = match service {
            Service::Ingest | Service::SecondIngest => env!("CARGO_BIN_EXE_e2e-ingest"),
            Service::AiProxy => env!("CARGO_BIN_EXE_e2e-ai-proxy"),
            Service::Replay => env!("CARGO_BIN_EXE_e2e-replay"),
            Service::Gateway | Service::SecondGateway => env!("CARGO_BIN_EXE_e2e-gateway"),
        };
        let log = folder.join(format!("{service:?}.log"));
        Self { address, operations, binary, environment, log, child: None }
    }

    /// In place of one that runs.
    pub(super) fn start(&mut self) {
        self.kill();
        let log = append(&self.log);
        let child = Command::new(self.binary)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(super) fn signal(&self, name: &str) {
        signal(self.child.as_ref().unwrap().id(), name);
    }

    pub(super) fn exit_code(&mut self) -> Option<i32> {
        let status = self.child.as_mut()?.try_wait().unwrap()?;
        Some(status.code().unwrap_or(-1))
    }

    pub(super) fn memory(&self) -> u64 {
        let id = self.child.as_ref().unwrap().id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(super) fn tail(&self) -> String {
        tail(&self.log())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(super) fn signal(process: u32, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status();
    assert!(status.unwrap().success());
}

pub(super) fn append(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}

pub(super) fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

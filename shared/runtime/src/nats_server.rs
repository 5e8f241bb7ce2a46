//! Runs a nats-server as a child: for `throughline up` and for tests. Knows its configuration files, not its clients.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

mod orphan;
mod passwords;
mod ports;
mod process;
pub mod teams;

pub use passwords::Passwords;
use process::Process;

const CONFIG: &str = include_str!("../../../nats/nats.conf");
const USERS: &str = include_str!("../../../nats/users.conf");

/// A store with much data in it is checked before the server listens.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// A server that takes no connection by then is no use.
const ADOPT_WITHIN: Duration = Duration::from_secs(2);
/// The server drops what it has read of its store at every collection of garbage, and reading one block again takes
/// it 10 ms: with Go's own 100 a page of history waits for that once a second.
const COLLECT_AT_PERCENT: &str = "400";
const POLL: Duration = Duration::from_millis(2);

/// How to run it.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    pub binary: PathBuf,
    /// Holds the configuration, the log and the store; survives restarts.
    pub data: PathBuf,
    /// Port -1 lets the system choose.
    pub listen: String,
    pub monitor: String,
    pub max_file_store: String,
    pub passwords: Passwords,
}

impl ServerConfig {
    /// Equal for what would start equal servers; it gives nothing of the passwords away.
    fn digest(&self) -> String {
        let mut digest = Sha256::new();
        let mut add = |part: &str| {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        };
        for part in [CONFIG, USERS, &self.listen, &self.monitor, &self.max_file_store] {
            add(part);
        }
        add(&self.binary.to_string_lossy());
        for (name, password) in self.passwords.environment() {
            add(&name);
            add(password);
        }
        digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the data folder {} cannot be used", path.display())]
    Data {
        path: PathBuf,
        #[source]
        reason: io::Error,
    },
    #[error("{} cannot be run", path.display())]
    Run {
        path: PathBuf,
        #[source]
        reason: io::Error,
    },
    #[error(
        "the address {listen} is taken by another program; NATS_PORT moves nats-server elsewhere"
    )]
    AddressTaken { listen: String },
    #[error("nats-server ended at once: {last_words}")]
    Ended { last_words: String },
    #[error("nats-server was not ready in time")]
    NotReady,
}

/// A running server. Dropping it kills it; `stop` is the orderly way.
pub struct NatsServer {
    process: Process,
    pid: u32,
    address: SocketAddr,
    monitor: Option<SocketAddr>,
    config: ServerConfig,
}

impl NatsServer {
    /// Starts it and waits until it takes connections. With a server that a killed parent left behind it goes on,
    /// if that was started with the same configuration; else that one is stopped first.
    pub async fn start(config: &ServerConfig) -> Result<Self, StartError> {
        let unusable = |reason| StartError::Data { path: config.data.clone(), reason };
        write_files(&config.data).map_err(unusable)?;
        if let Some(adopted) = Self::adopt(config).await {
            return Ok(adopted);
        }
        orphan::stop(&pid_file(&config.data)).await;
        fs::write(like_file(&config.data), config.digest()).map_err(unusable)?;
        // What earlier servers said has been read by now, or never will be.
        fs::File::create(log_file(&config.data)).map_err(unusable)?;
        Self::launch(config.clone(), &config.listen).await
    }

    /// Another process in place of one that has ended, with the same data on the same address.
    pub async fn restart(&mut self) -> Result<(), StartError> {
        // The system may have chosen the port that clients know by now.
        *self = Self::launch(self.config.clone(), &self.address.to_string()).await?;
        Ok(())
    }

    async fn launch(config: ServerConfig, listen: &str) -> Result<Self, StartError> {
        let unusable = |reason| StartError::Data { path: config.data.clone(), reason };
        let log = fs::File::options().append(true).create(true).open(log_file(&config.data));
        let log = log.map_err(unusable)?;
        let said = log.metadata().map_err(unusable)?.len();
        let mut child = command(&config, listen, log)
            .spawn()
            .map_err(|reason| StartError::Run { path: config.binary.clone(), reason })?;
        let pid = child.id().ok_or(StartError::NotReady)?;
        let deadline = Instant::now() + READY_WITHIN;
        let ports = loop {
            if let Some(ports) = ports::read(&config.data, pid) {
                break ports;
            }
            if let Ok(Some(_)) = child.try_wait() {
                return Err(last_words(&config.data, listen, said));
            }
            if Instant::now() >= deadline {
                return Err(StartError::NotReady);
            }
            sleep(POLL).await;
        };
        info!(address = %ports.client, "nats-server is running");
        let process = Process::Child(Box::new(child));
        Ok(Self { process, pid, address: ports.client, monitor: ports.monitor, config })
    }

    /// The server that an earlier run left behind, if it is what this one would start.
    async fn adopt(config: &ServerConfig) -> Option<Self> {
        let pid = orphan::find(&pid_file(&config.data))?;
        let like = fs::read_to_string(like_file(&config.data)).ok()?;
        let ports = ports::read(&config.data, pid).filter(|_| like == config.digest())?;
        timeout(ADOPT_WITHIN, TcpStream::connect(ports.client)).await.ok()?.ok()?;
        info!(pid, address = %ports.client, "going on with the nats-server that an earlier run left behind");
        Some(Self {
            process: Process::Adopted(pid),
            pid,
            address: ports.client,
            monitor: ports.monitor,
            config: config.clone(),
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn monitor(&self) -> Option<SocketAddr> {
        self.monitor
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// With the user's password in it.
    pub fn url(&self, user: &str) -> String {
        self.config.passwords.url(user, self.address)
    }

    /// The file with the users, to which `teams::add` adds.
    pub fn users_file(&self) -> PathBuf {
        users_file(&self.config.data)
    }

    /// Reads the users' file again; connections of users that stay are kept.
    pub fn reload(&self) -> io::Result<()> {
        orphan::signal(self.pid, rustix::process::Signal::HUP)
    }

    /// Ends when the server does, asked or not; with its status where that can be known.
    pub async fn wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.process.wait().await
    }

    /// Lets it write what it has and end; kills it when that takes too long. One that has ended is left alone.
    pub async fn stop(mut self, within: Duration) {
        if !self.process.has_ended() {
            let asked = orphan::signal(self.pid, rustix::process::Signal::TERM);
            if asked.is_err() || timeout(within, self.process.wait()).await.is_err() {
                warn!("nats-server did not stop in time and is killed");
                self.kill().await;
            }
        }
        // Failing leaves a file behind that names no process.
        let _ = fs::remove_file(pid_file(&self.config.data));
    }

    /// As a crash would end it.
    pub async fn kill(&mut self) {
        self.process.kill().await;
    }
}

fn pid_file(data: &Path) -> PathBuf {
    data.join("nats-server.pid")
}

/// What the running server was started with.
fn like_file(data: &Path) -> PathBuf {
    data.join("nats-server.like")
}

fn log_file(data: &Path) -> PathBuf {
    data.join("nats-server.log")
}

fn users_file(data: &Path) -> PathBuf {
    data.join("users.conf")
}

fn command(config: &ServerConfig, listen: &str, log: fs::File) -> Command {
    let data = &config.data;
    let mut command = Command::new(&config.binary);
    command.arg("--config").arg(data.join("nats.conf"));
    command.arg("--pid").arg(pid_file(data)).arg("--ports_file_dir").arg(data);
    // Only what its configuration names: the parent's environment may hold secrets that are none of its business.
    command.env_clear().envs(config.passwords.environment());
    command.env("NATS_SERVER_NAME", "throughline");
    command.env("NATS_LISTEN", listen).env("NATS_HTTP", &config.monitor);
    command.env("NATS_STORE_DIR", data.join("store"));
    command.env("NATS_MAX_FILE_STORE", &config.max_file_store);
    command.env("GOMAXPROCS", half_of_the_cores().to_string());
    command.env("GOGC", COLLECT_AT_PERCENT);
    if let Some(bytes) = quarter_of_the_memory() {
        command.env("GOMEMLIMIT", format!("{bytes}B"));
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
    // A Ctrl-C at the terminal goes to the whole group; the server must outlive the services that drain into it.
    command.process_group(0);
    command
}

/// The services it serves are on the same machine and need the others. Never one alone: then everything waits 10 ms
/// at a time for a collection of garbage.
fn half_of_the_cores() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get().div_ceil(2).max(2))
}

/// From where on the server collects more often, whatever [`COLLECT_AT_PERCENT`] says.
fn quarter_of_the_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024 / 4)
}

fn write_files(data: &Path) -> io::Result<()> {
    fs::create_dir_all(data)?;
    fs::write(data.join("nats.conf"), CONFIG)?;
    let users = match fs::read_to_string(users_file(data)) {
        Ok(old) => teams::carry_over(&old, USERS),
        Err(_) => USERS.to_owned(),
    };
    fs::write(users_file(data), users)
}

/// Why a server ended that had found `before` bytes in its log.
fn last_words(data: &Path, listen: &str, before: u64) -> StartError {
    let log = fs::read(log_file(data)).unwrap_or_default();
    let before = usize::try_from(before).unwrap_or(usize::MAX);
    let log = String::from_utf8_lossy(log.get(before..).unwrap_or_default());
    if log.contains("address already in use") {
        return StartError::AddressTaken { listen: listen.to_owned() };
    }
    let last = log.lines().rfind(|line| !line.trim().is_empty());
    StartError::Ended { last_words: last.unwrap_or("it said nothing").to_owned() }
}

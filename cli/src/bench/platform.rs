//! The platform under measurement: nats-server and each service as a process of its own, in a temporary data folder.

use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use domain::Role;
use http::Request;
use runtime::config::Environment;
use runtime::http_client::{Client, Limits};
use runtime::nats_binary;
use runtime::nats_server::{NatsServer, ServerConfig};
use runtime::provision::{self, ApplyOptions};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::bench::process::cpu_seconds;
use crate::data::{DataFolder, Secrets};
use crate::failure::Failure;
use crate::{streams, token};

pub(crate) const SERVICES: [&str; 4] = ["gateway", "ingest", "replay", "ai-proxy"];
const READY_WITHIN: Duration = Duration::from_secs(60);

pub(crate) struct Platform {
    pub(crate) folder: DataFolder,
    pub(crate) gateway: SocketAddr,
    pub(crate) ingest: SocketAddr,
    services: Vec<(&'static str, Child)>,
    /// Where the services listen, then where they are operated; those that do not run have theirs, too.
    ports: Vec<SocketAddr>,
    secrets: Secrets,
    nats: NatsServer,
    _temporary: TempDir,
}

impl Platform {
    /// All that a spine has; the AI side runs only where it is measured.
    pub(crate) async fn start() -> Result<Self, Failure> {
        Self::start_only(&SERVICES[..3]).await
    }

    /// Some of the services; the addresses of the others lead nowhere.
    pub(crate) async fn start_only(wanted: &[&'static str]) -> Result<Self, Failure> {
        let temporary = tempfile::tempdir().map_err(|error| Failure::failed("a folder", error))?;
        let folder = DataFolder::create(&temporary.path().join("data"))?;
        let secrets = Secrets::load_or_make(&folder, None)?;
        let nats = broker(&folder, &secrets).await?;
        let ports = free_ports()?;
        let mut services = Vec::new();
        let mut ops = Vec::new();
        for (index, service) in SERVICES.into_iter().enumerate() {
            if !wanted.contains(&service) {
                continue;
            }
            let (listen, operations) = (ports[index], ports[index + SERVICES.len()]);
            services.push((service, spawn(service, &nats, &secrets, listen, operations)?));
            ops.push((service, format!("http://{operations}")));
        }
        ready(&ops).await?;
        let (gateway, ingest) = (ports[0], ports[1]);
        Ok(Self { folder, gateway, ingest, services, ports, secrets, nats, _temporary: temporary })
    }

    /// Processor time that a service has used so far.
    pub(crate) fn cpu_of(&self, service: &str) -> f64 {
        self.pid(service).map_or(0.0, cpu_seconds)
    }

    pub(crate) fn nats_cpu(&self) -> f64 {
        cpu_seconds(self.nats.pid())
    }

    pub(crate) fn pid(&self, service: &str) -> Option<u32> {
        let (_, child) = self.services.iter().find(|(name, _)| *name == service)?;
        child.id()
    }

    pub(crate) fn token(&self, role: Role) -> Result<String, Failure> {
        token::mint(&self.folder, &token::Wanted::new(role, "default".to_owned()))
    }

    /// How many consumers the server counts, over all streams.
    pub(crate) async fn consumers(&self) -> Result<usize, Failure> {
        let monitor =
            self.nats.monitor().ok_or_else(|| Failure::Failed("no monitoring".to_owned()))?;
        let client =
            Client::new(Limits::default()).map_err(|error| Failure::failed("TLS", error))?;
        let request = Request::get(format!("http://{monitor}/jsz")).body(Bytes::new());
        let request = request.map_err(|error| Failure::failed("the monitoring", error))?;
        let answer = client.send(request).await;
        let answer = answer.map_err(|error| Failure::failed("the monitoring", error))?;
        let answer: Value = serde_json::from_slice(answer.body())
            .map_err(|error| Failure::failed("the monitoring", error))?;
        let count = answer.get("consumers").and_then(Value::as_u64).unwrap_or_default();
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// SIGKILL to a service, which is gone when this returns.
    pub(crate) async fn kill(&mut self, service: &str) -> Result<(), Failure> {
        let killed = |error| Failure::failed(service, error);
        let Some((_, child)) = self.services.iter_mut().find(|(name, _)| *name == service) else {
            return Ok(());
        };
        child.kill().await.map_err(killed)
    }

    /// Starts a service that was killed, at the same addresses, and waits until it is ready.
    pub(crate) async fn restart(&mut self, service: &'static str) -> Result<(), Failure> {
        let Some(index) = SERVICES.iter().position(|name| *name == service) else {
            return Ok(());
        };
        let (listen, operations) = (self.ports[index], self.ports[index + SERVICES.len()]);
        let child = spawn(service, &self.nats, &self.secrets, listen, operations)?;
        if let Some(place) = self.services.iter_mut().find(|(name, _)| *name == service) {
            place.1 = child;
        }
        ready(&[(service, format!("http://{operations}"))]).await
    }

    pub(crate) async fn stop(self) {
        drop(self.services);
        self.nats.stop(Duration::from_secs(10)).await;
    }
}

async fn ready(operations: &[(&'static str, String)]) -> Result<(), Failure> {
    let ready = tokio::time::timeout(READY_WITHIN, crate::up::ready::wait(operations));
    match ready.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Failure::failed("the services", error)),
        Err(_) => Err(Failure::Failed("the services did not become ready".to_owned())),
    }
}

async fn broker(folder: &DataFolder, secrets: &Secrets) -> Result<NatsServer, Failure> {
    let binary = nats_binary::find_or_fetch(&Environment)
        .map_err(|error| Failure::Failed(error.to_string()))?;
    let config = ServerConfig {
        binary,
        data: folder.nats_path(),
        listen: "127.0.0.1:-1".to_owned(),
        monitor: "127.0.0.1:-1".to_owned(),
        max_file_store: "64GB".to_owned(),
        passwords: secrets.passwords()?,
    };
    let server =
        NatsServer::start(&config).await.map_err(|error| Failure::failed("nats-server", error))?;
    let nats = Box::pin(streams::connect(&streams::admin(&server.url("admin")))).await?;
    provision::apply(&nats, &streams::definitions(None)?, ApplyOptions::default())
        .await
        .map_err(|error| Failure::failed("the streams", error))?;
    Ok(server)
}

/// Free now, and by all likelihood still free when the services bind them.
fn free_ports() -> Result<Vec<SocketAddr>, Failure> {
    let held: std::io::Result<Vec<TcpListener>> =
        (0..2 * SERVICES.len()).map(|_| TcpListener::bind("127.0.0.1:0")).collect();
    let held = held.map_err(|error| Failure::failed("free ports", error))?;
    let addresses: std::io::Result<Vec<_>> = held.iter().map(TcpListener::local_addr).collect();
    addresses.map_err(|error| Failure::failed("free ports", error))
}

fn spawn(
    service: &str,
    nats: &NatsServer,
    secrets: &Secrets,
    listen: SocketAddr,
    ops: SocketAddr,
) -> Result<Child, Failure> {
    let mut command = this_program()?;
    command
        .args(["service", service])
        .env("NATS_URL", nats.url(service))
        .env("LISTEN", listen.to_string())
        .env("OPS_LISTEN", ops.to_string())
        .env("PLATFORM_KEY", &secrets.platform_key)
        .env("JWT_SECRET", &secrets.jwt_secret)
        .env("SOURCES_FILE", &secrets.sources)
        .env("CONNECTIONS_PER_ADDRESS", "60000")
        .env("RUST_LOG", "warn");
    command.spawn().map_err(|error| Failure::failed(service, error))
}

/// This program again, ended when its handle is dropped.
fn this_program() -> Result<Command, Failure> {
    let program =
        std::env::current_exe().map_err(|error| Failure::failed("this program", error))?;
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

/// A floor in a process of its own, with the address it serves at.
pub(crate) async fn floor(arguments: &[String]) -> Result<(Child, SocketAddr), Failure> {
    let mut command = this_program()?;
    command.args(["bench", "floor"]).args(arguments).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| Failure::failed("the floor", error))?;
    let output =
        child.stdout.take().ok_or_else(|| Failure::Failed("the floor is mute".to_owned()))?;
    let line = BufReader::new(output).lines().next_line().await;
    let line = line.map_err(|error| Failure::failed("the floor", error))?.unwrap_or_default();
    let port: u16 =
        line.parse().map_err(|_| Failure::Failed(format!("the floor said {line:?}")))?;
    Ok((child, SocketAddr::from(([127, 0, 0, 1], port))))
}

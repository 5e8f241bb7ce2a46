//! The platform as its operators run it: a real nats-server and the services as processes of their own,
//! configured by files and environment alone, each to be killed and started again.

mod admin;
pub(crate) mod cast;
mod nats_server;
mod ports;
mod process;
mod settings;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;

pub(crate) use admin::Admin;
pub(crate) use nats_server::NatsServer;
pub(crate) use ports::free as free_port;
use process::Process;
pub(crate) use settings::{ELEVENLABS, ORIGIN, PUBLIC_URL, STANDARD, TWILIO, WHATSAPP};

use crate::clients::http::Request;

/// The tenant of all sources and teams of the tests' configuration.
pub(crate) const TENANT: &str = "acme";

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Service {
    Ingest,
    /// Another replica of the write side.
    SecondIngest,
    Replay,
    AiProxy,
    Gateway,
    /// Another gateway of the same platform.
    SecondGateway,
}

#[derive(Default)]
pub(crate) struct Options {
    second_gateway: bool,
    write_side_alone: bool,
    ai: bool,
    second_ingest: bool,
    environment: Vec<(Service, &'static str, String)>,
    /// Besides the one of the configuration.
    origin: Option<String>,
    /// Besides the one of the configuration, as they stand in its file.
    applications: String,
    /// Services reach NATS through what is started for them, not directly.
    nats_address: BTreeMap<Service, SocketAddr>,
}

impl Options {
    /// The key that every service has unless another is set.
    pub(crate) const PLATFORM_KEY: &str = settings::PLATFORM_KEY;

    pub(crate) fn two_gateways(mut self) -> Self {
        self.second_gateway = true;
        self
    }

    pub(crate) fn two_ingests(mut self) -> Self {
        self.second_ingest = true;
        self
    }

    /// With the service that screens and answers.
    pub(crate) fn with_ai(mut self) -> Self {
        self.ai = true;
        self
    }

    /// Nobody reads.
    pub(crate) fn write_side_alone(mut self) -> Self {
        self.write_side_alone = true;
        self
    }

    pub(crate) fn set(mut self, service: Service, name: &'static str, value: &str) -> Self {
        self.environment.push((service, name, value.to_owned()));
        self
    }

    pub(crate) fn allow_origin(mut self, origin: &str) -> Self {
        self.origin = Some(origin.to_owned());
        self
    }

    pub(crate) fn applications(mut self, applications: String) -> Self {
        self.applications = applications;
        self
    }

    pub(crate) fn nats_of(mut self, service: Service, address: SocketAddr) -> Self {
        self.nats_address.insert(service, address);
        self
    }
}

pub(crate) struct TestPlatform {
    pub(crate) nats: NatsServer,
    processes: BTreeMap<Service, Process>,
    folder: TempDir,
    finished: bool,
}

impl TestPlatform {
    pub(crate) async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    pub(crate) async fn start_with(options: Options) -> Self {
        let nats = NatsServer::start().await;
        Self::on(nats, options).await
    }

    /// The services on a server that is already there.
    pub(crate) async fn on(nats: NatsServer, options: Options) -> Self {
        let folder = TempDir::new().unwrap();
        let origin = options.origin.as_deref().unwrap_or(ORIGIN);
        settings::write(folder.path(), origin, &options.applications);
        nats.provision().await;
        let mut services = vec![Service::Ingest];
        if !options.write_side_alone {
            services.extend([Service::Replay, Service::Gateway]);
        }
        services.extend(options.ai.then_some(Service::AiProxy));
        services.extend(options.second_ingest.then_some(Service::SecondIngest));
        services.extend(options.second_gateway.then_some(Service::SecondGateway));
        let mut processes = BTreeMap::new();
        for service in services {
            let address = options.nats_address.get(&service).copied().unwrap_or(nats.address);
            let mut environment = settings::environment(service, folder.path(), &nats, address);
            let own = options.environment.iter().filter(|(of, ..)| *of == service);
            environment.extend(own.map(|(_, name, value)| ((*name).to_owned(), value.clone())));
            let mut process = Process::new(service, folder.path(), environment);
            process.start();
            processes.insert(service, process);
        }
        let platform = Self { nats, processes, folder, finished: false };
        for service in platform.processes.keys() {
            platform.ready(*service).await;
        }
        platform
    }

    pub(crate) fn gateway(&self) -> SocketAddr {
        self.processes[&Service::Gateway].address
    }

    pub(crate) fn second_gateway(&self) -> SocketAddr {
        self.processes[&Service::SecondGateway].address
    }

    pub(crate) fn ingest(&self) -> SocketAddr {
        self.processes[&Service::Ingest].address
    }

    pub(crate) fn second_ingest(&self) -> SocketAddr {
        self.processes[&Service::SecondIngest].address
    }

    pub(crate) fn operations(&self, service: Service) -> SocketAddr {
        self.processes[&service].operations
    }

    /// SIGKILL: no goodbye, nothing flushed.
    pub(crate) fn kill(&mut self, service: Service) {
        self.processes.get_mut(&service).unwrap().kill();
    }

    pub(crate) fn signal(&self, service: Service, name: &str) {
        self.processes[&service].signal(name);
    }

    /// Whether the process has ended by itself, and how.
    pub(crate) fn exit_code(&mut self, service: Service) -> Option<i32> {
        self.processes.get_mut(&service).unwrap().exit_code()
    }

    /// Starts a killed service again, at the same address.
    pub(crate) async fn restart(&mut self, service: Service) {
        self.begin_restart(service);
        self.ready(service).await;
    }

    pub(crate) fn begin_restart(&mut self, service: Service) {
        self.processes.get_mut(&service).unwrap().start();
    }

    /// Waits until a service says that it is ready.
    pub(crate) async fn ready(&self, service: Service) {
        let operations = self.operations(service);
        eventually(Duration::from_secs(20), &format!("{service:?} is ready"), async || {
            let answer = Request::get("/readyz").send(operations).await;
            answer.is_ok_and(|answer| answer.status == 200)
        })
        .await;
    }

    pub(crate) async fn admin(&self) -> Admin {
        Admin::connect(&self.nats).await
    }

    /// Resident memory of a service's process, in bytes.
    pub(crate) fn memory(&self, service: Service) -> u64 {
        self.processes[&service].memory()
    }

    pub(crate) fn log(&self, service: Service) -> String {
        self.processes[&service].log()
    }

    /// Fails if a publication is left between being taken and being settled.
    pub(crate) async fn finish(mut self) {
        self.finished = true;
        let admin = self.admin().await;
        eventually(Duration::from_secs(5), "all publications are settled", async || {
            admin.unsettled("INBOX", "ingest").await == 0
        })
        .await;
    }
}

impl Drop for TestPlatform {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (service, process) in &self.processes {
                eprintln!(
                    "--- {service:?} in {}\n{}",
                    self.folder.path().display(),
                    process.tail()
                );
            }
            eprintln!("--- nats-server\n{}", self.nats.tail());
        } else {
            assert!(self.finished, "the test forgot to finish its platform");
        }
    }
}

/// Asks again and again until the answer is yes; fails the test when it is not in time.
#[track_caller]
pub(crate) fn eventually<F: AsyncFnMut() -> bool>(
    within: Duration,
    what: &str,
    mut condition: F,
) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    async move {
        let until = Instant::now() + within;
        while !condition().await {
            assert!(Instant::now() < until, "{place}: not within {within:?}: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

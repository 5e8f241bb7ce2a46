//! The platform's NATS: a nats-server of our own in the data folder, or one that is there already; provisioned.

use std::path::PathBuf;
use std::time::Duration;

use runtime::config::{Environment, NATS_CREDS, Reader, STRICT_DURABILITY};
use runtime::nats::NatsConfig;
use runtime::nats_binary::{self, NoServer};
use runtime::nats_server::{NatsServer, ServerConfig};
use runtime::provision::{self, ApplyOptions, Update};
use tokio_util::sync::CancellationToken;

use crate::data::{DataFolder, Secrets};
use crate::failure::Failure;
use crate::streams;
use crate::up::restart;
use crate::up::settings::Settings;

const STOP_WITHIN: Duration = Duration::from_secs(15);

pub(crate) enum Broker {
    Own(Box<NatsServer>),
    /// Its URL, with the credentials in it.
    External(String),
}

impl Broker {
    pub(crate) async fn start(
        settings: &Settings,
        folder: &DataFolder,
        secrets: &Secrets,
        external: Option<&str>,
    ) -> Result<Self, Failure> {
        let broker = match external {
            Some(url) => Self::External(url.to_owned()),
            None => Self::Own(Box::new(own(settings, folder, secrets).await?)),
        };
        match broker.provision().await {
            Ok(()) => Ok(broker),
            Err(failure) => {
                broker.stop().await;
                Err(failure)
            }
        }
    }

    /// With the credentials of one of the services.
    pub(crate) fn url(&self, service: &str) -> String {
        match self {
            Self::Own(server) => server.url(service),
            Self::External(url) => url.clone(),
        }
    }

    /// For people: without credentials.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Own(server) => format!("nats://{}", server.address()),
            Self::External(url) => {
                format!("nats://{}", url.rsplit(['@', '/']).next().unwrap_or_default())
            }
        }
    }

    async fn provision(&self) -> Result<(), Failure> {
        let mut reader = Reader::new(&Environment);
        let (strict, given) = (reader.flag(&STRICT_DURABILITY), reader.path(&NATS_CREDS));
        let strict = reader.finish(strict)?;
        // A server of our own knows our users; another one whoever the environment names.
        let given = given.filter(|_| matches!(self, Self::External(_)));
        let given = given.map(|path| streams::read_credentials(&path)).transpose()?;
        let config = |service: &str| NatsConfig {
            url: self.url(service),
            credentials: given.clone(),
            service: service.to_owned(),
        };
        // Who may not connect is told so first.
        let nats = Box::pin(streams::connect(&config("admin"))).await?;
        let promised = streams::demand(&config("sys"), strict).await?;
        let definitions = streams::definitions(None)?;
        // A store of one's own follows the program that opens it; one of somebody else is theirs to change.
        let update = match self {
            Self::Own(_) => Update::KeepLimits,
            Self::External(_) => Update::Nothing,
        };
        provision::apply(&nats, &definitions, ApplyOptions { update, ..ApplyOptions::default() })
            .await
            .map_err(|error| Failure::failed("the streams", error))?;
        streams::record(&promised, &nats).await
    }

    /// Starts a server of our own again whenever it ends, until `stop`; it returns, with the reason, when that cannot
    /// be done, and never otherwise.
    pub(crate) async fn keep_running(&mut self, stop: &CancellationToken) -> Failure {
        if let Self::Own(server) = self {
            tokio::select! {
                // In an orderly stop the server is the last to go, and nothing is served for which it would come back.
                () = stop.cancelled() => {}
                reason = restart::keep(server) => return reason,
            }
        }
        std::future::pending().await
    }

    /// After the services, which drain into it.
    pub(crate) async fn stop(self) {
        if let Self::Own(server) = self {
            server.stop(STOP_WITHIN).await;
        }
    }
}

/// Fetching takes seconds, which should not pass in silence.
fn program() -> Result<PathBuf, NoServer> {
    if nats_binary::find(&Environment)?.is_none() {
        eprintln!("nats-server {} is not here; fetching it …", nats_binary::VERSION);
    }
    nats_binary::find_or_fetch(&Environment)
}

async fn own(
    settings: &Settings,
    folder: &DataFolder,
    secrets: &Secrets,
) -> Result<NatsServer, Failure> {
    let binary = tokio::task::spawn_blocking(program)
        .await
        .map_err(|error| Failure::failed("looking for nats-server", error))?
        .map_err(|error| Failure::Failed(error.to_string()))?;
    let port =
        if settings.nats_port == 0 { "-1".to_owned() } else { settings.nats_port.to_string() };
    let config = ServerConfig {
        binary,
        data: folder.nats_path(),
        listen: format!("127.0.0.1:{port}"),
        monitor: "127.0.0.1:-1".to_owned(),
        max_file_store: settings.max_file_store.clone(),
        passwords: secrets.passwords()?,
    };
    NatsServer::start(&config).await.map_err(|error| Failure::failed("nats-server", error))
}

//! A real nats-server for one test: its own store and port, this project's permissions, everything provisioned.
//!
//! For tests alone: it panics where a test cannot go on.

use std::time::Duration;

use tempfile::TempDir;

use crate::config::Environment;
use crate::nats::{Nats, NatsConfig};
use crate::nats_binary;
use crate::nats_server::{NatsServer, Passwords, ServerConfig};
use crate::provision::{self, ApplyOptions, Definitions};

const CONNECT_WITHIN: Duration = Duration::from_secs(20);

/// Dropping it kills the server and removes the store.
pub struct TestNats {
    server: Option<NatsServer>,
    config: ServerConfig,
    _folder: TempDir,
}

#[expect(clippy::expect_used, reason = "a test that cannot have its server must fail")]
impl TestNats {
    pub async fn start() -> Self {
        let mut nats = Self::start_empty().await;
        nats.provision().await;
        nats
    }

    /// Without streams, as a service sees it that starts before the provisioner.
    pub async fn start_empty() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let binary = nats_binary::find_or_fetch(&Environment).expect("nats-server");
        let mut config = ServerConfig {
            binary,
            data: folder.path().to_owned(),
            listen: "127.0.0.1:-1".to_owned(),
            monitor: "127.0.0.1:-1".to_owned(),
            max_file_store: "64GB".to_owned(),
            passwords: Passwords::made_by(|user| format!("test-{user}")),
        };
        let server = NatsServer::start(&config).await.expect("nats-server starts");
        // The same port after a restart, as a supervised server would have.
        config.listen = server.address().to_string();
        Self { server: Some(server), config, _folder: folder }
    }

    pub async fn provision(&mut self) {
        let admin = self.nats("admin").await;
        let definitions = Definitions::builtin().expect("the built-in definitions");
        let applied = provision::apply(&admin, &definitions, ApplyOptions::default()).await;
        applied.expect("a fresh server is provisioned");
    }

    /// Holds the password of one of the users of `users.conf`.
    pub fn url(&self, user: &str) -> String {
        let address = self.config.listen.parse().expect("the address of a started server");
        self.config.passwords.url(user, address)
    }

    pub fn config(&self, user: &str) -> NatsConfig {
        NatsConfig { url: self.url(user), credentials: None, service: user.to_owned() }
    }

    /// A connected client of one of the users.
    pub async fn nats(&self, user: &str) -> Nats {
        let nats = Nats::connect(&self.config(user)).await.expect("a client");
        nats.wait_connected(CONNECT_WITHIN).await.expect("a connection");
        nats
    }

    /// The running server; `None` between `kill` and `restart`.
    pub fn server(&self) -> Option<&NatsServer> {
        self.server.as_ref()
    }

    pub fn server_config(&self) -> &ServerConfig {
        &self.config
    }

    /// As a crash would end it; the store stays.
    pub async fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().await;
        }
    }

    /// In order, as an upgrade would.
    pub async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop(CONNECT_WITHIN).await;
        }
    }

    /// On the same port, with the same store. Kills a server that still runs.
    pub async fn restart(&mut self) {
        self.kill().await;
        self.server =
            Some(NatsServer::start(&self.config).await.expect("nats-server starts again"));
    }
}

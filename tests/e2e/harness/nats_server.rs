//! A real nats-server as the product starts it, with its users and rights, and one team; its store in a folder of the test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use domain::{Tenant, Token};
use runtime::config::Environment;
use runtime::nats::{Nats, NatsConfig};
use runtime::nats_binary;
use runtime::nats_server::{NatsServer as Server, Passwords, ServerConfig, teams};
use runtime::provision::{self, ApplyOptions, Definitions};
use tempfile::TempDir;

use super::process::{signal, tail};
use super::{TENANT, ports};

pub(crate) struct NatsServer {
    pub(crate) address: SocketAddr,
    pub(crate) team: Team,
    config: ServerConfig,
    server: Option<Server>,
    folder: TempDir,
}

/// What `throughline team add` hands to a team.
pub(crate) struct Team {
    pub(crate) seed: String,
    pub(crate) inbox_prefix: String,
}

impl NatsServer {
    pub(crate) async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let address = ports::free();
        let config = ServerConfig {
            binary: nats_binary::find_or_fetch(&Environment).unwrap(),
            data: folder.path().to_owned(),
            listen: address.to_string(),
            monitor: ports::free().to_string(),
            max_file_store: "64GB".to_owned(),
            passwords: Passwords::generate(),
        };
        let server = Server::start(&config).await.unwrap();
        let team = add_team(&server);
        Self { address, team, config, server: Some(server), folder }
    }

    /// On the same address, with what is stored.
    pub(crate) async fn restart(&mut self) {
        self.server = Some(Server::start(&self.config).await.unwrap());
    }

    /// SIGKILL: nothing flushed.
    pub(crate) async fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().await;
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.server.as_ref().unwrap().pid(), name);
    }

    pub(crate) fn url_of(&self, user: &str) -> String {
        self.url_at(user, self.address)
    }

    /// The same by another address, such as that of a proxy.
    pub(crate) fn url_at(&self, user: &str, address: SocketAddr) -> String {
        self.config.passwords.url(user, address)
    }

    pub(super) fn options_of(&self, user: &str) -> async_nats::ConnectOptions {
        let password = self.config.passwords.get(user).unwrap();
        async_nats::ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned())
    }

    pub(super) async fn provision(&self) {
        let (url, service) = (self.url_of("admin"), "admin".to_owned());
        let nats = Nats::connect(&NatsConfig { url, credentials: None, service }).await.unwrap();
        nats.wait_connected(Duration::from_secs(10)).await.unwrap();
        let definitions = Definitions::builtin().unwrap();
        provision::apply(&nats, &definitions, ApplyOptions::default()).await.unwrap();
    }

    pub(super) fn tail(&self) -> String {
        let log = self.folder.path().join("nats-server.log");
        tail(&std::fs::read_to_string(log).unwrap_or_default())
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// A copy of all that is stored, as a backup made while the server is down.
    pub(crate) fn copy_store(&self, to: &Path) {
        copy(&self.store(), to);
    }

    pub(crate) fn put_back(&self, from: &Path) {
        std::fs::remove_dir_all(self.store()).unwrap();
        copy(from, &self.store());
    }
}

fn add_team(server: &Server) -> Team {
    let keys = teams::key_pair().unwrap();
    let team = teams::Team {
        tenant: Tenant::parse(TENANT).unwrap(),
        name: Token::parse("crm").unwrap(),
        public_key: keys.public_key,
        consumes: false,
    };
    let file = server.users_file();
    let users = std::fs::read_to_string(&file).unwrap();
    std::fs::write(file, teams::add(&users, &team).unwrap()).unwrap();
    server.reload().unwrap();
    Team { seed: keys.seed, inbox_prefix: team.inbox_prefix() }
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

//! What the server promises about an acknowledged message when the machine loses power.
//!
//! The provisioner asks the server through the system account and leaves the answer in the bucket `platform`, where
//! the services, which have no right to ask, find it.

use std::time::Duration;

use async_nats::Message;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::config::{Reader, STRICT_DURABILITY};
use crate::kv::KvError;
use crate::nats::{ConnectError, Connection, Nats, NatsConfig, Servers, wait_answered};
use crate::ops::Condition;
use crate::tasks::BoxError;

const BUCKET: &str = "platform";
const KEY: &str = "durability";
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// After the first server of a cluster has answered, the others are close.
const OTHERS_WITHIN: Duration = Duration::from_millis(150);
/// The longest time of acknowledged messages in the page cache alone that needs no warning.
const TOLERATED: Duration = Duration::from_secs(1);
const OLDEST: (u64, u64, u64) = (2, 15, 1);

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Durability {
    pub servers: Vec<ServerDurability>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServerDurability {
    pub name: String,
    pub version: String,
    pub sync_always: bool,
    /// Milliseconds between two syncs of the files.
    pub sync_interval_ms: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Promise {
    /// Synced before it is acknowledged.
    Always,
    /// Synced at the latest this long after it is acknowledged.
    Within(Duration),
    /// Nobody has asked the server.
    Unknown,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotDurable {
    #[error(
        "nats-server syncs its files only every {0:?}: acknowledged messages of that long are lost with the \
         machine's power; set sync_interval in nats.conf"
    )]
    Lazy(Duration),
    #[error("nats-server {0} is older than 2.15.1")]
    Old(String),
    #[error(
        "it is not known how often nats-server syncs its files: run `throughline streams apply` with the \
         password of the system account"
    )]
    Unknown,
}

#[derive(Deserialize)]
struct Varz {
    data: Option<VarzData>,
}

#[derive(Deserialize)]
struct VarzData {
    server_name: Option<String>,
    version: String,
    jetstream: Option<VarzJetStream>,
}

#[derive(Deserialize)]
struct VarzJetStream {
    config: Option<VarzConfig>,
}

#[derive(Deserialize)]
struct VarzConfig {
    #[serde(default)]
    sync_always: bool,
    #[serde(default)]
    sync_interval: u64,
}

impl Durability {
    /// Asks every server of the cluster; `config` holds the credentials of the system account.
    pub async fn ask(config: &NatsConfig) -> Result<Self, ConnectError> {
        let deadline = Instant::now() + ANSWER_WITHIN;
        let connection = Connection::open(&Servers::read(config)?, "system").await?;
        wait_answered(connection.watch_link(), deadline).await?;
        let client = connection.client();
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(inbox.clone()).await.map_err(ConnectError::Subscribe)?;
        let asked = client.publish_with_reply("$SYS.REQ.SERVER.PING.VARZ", inbox, "".into());
        asked.await.map_err(|_| ConnectError::Unreachable)?;
        let mut servers = Vec::new();
        let mut until = deadline;
        while let Ok(Some(answer)) = timeout_at(until, answers.next()).await {
            servers.extend(read(&answer));
            until = (Instant::now() + OTHERS_WITHIN).min(deadline);
        }
        Ok(Self { servers })
    }

    /// Leaves it for the services.
    pub async fn record(&self, nats: &Nats) -> Result<(), KvError> {
        let value = serde_json::to_vec(self).unwrap_or_default();
        nats.bucket(BUCKET).put(KEY, value.into()).await.map(drop)
    }

    /// What the provisioner left; nothing known when it left nothing.
    pub async fn read(nats: &Nats) -> Result<Self, KvError> {
        let entry = nats.bucket(BUCKET).get(KEY).await?;
        let known = entry.and_then(|entry| serde_json::from_slice(&entry.value).ok());
        Ok(known.unwrap_or_default())
    }

    /// The weakest promise of all servers.
    pub fn promise(&self) -> Promise {
        let lazy = self.servers.iter().filter(|server| !server.sync_always);
        match lazy.map(|server| server.sync_interval_ms).max() {
            Some(longest) => Promise::Within(Duration::from_millis(longest)),
            None if self.servers.is_empty() => Promise::Unknown,
            None => Promise::Always,
        }
    }

    fn verdict(&self) -> Result<(), NotDurable> {
        if let Some(old) = self.servers.iter().find(|server| is_old(&server.version)) {
            return Err(NotDurable::Old(old.version.clone()));
        }
        match self.promise() {
            Promise::Always => Ok(()),
            Promise::Within(time) if time <= TOLERATED => Ok(()),
            Promise::Within(time) => Err(NotDurable::Lazy(time)),
            Promise::Unknown => Err(NotDurable::Unknown),
        }
    }

    /// Says loudly what is not promised; with `strict` that is an error.
    pub fn enforce(&self, strict: bool) -> Result<(), NotDurable> {
        match self.verdict() {
            Err(reason) if strict => Err(reason),
            Err(NotDurable::Unknown) => {
                warn!(reason = %NotDurable::Unknown, "durability is not known");
                Ok(())
            }
            Err(reason) => {
                error!(%reason, "DURABILITY: acknowledged messages can be lost");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

/// How often a service looks whether what was not promised is promised by now.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// The same while the record cannot be read.
const RETRY: Duration = Duration::from_millis(500);

/// What a service demands of the server's durability.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Demand {
    pub strict: bool,
}

impl Demand {
    pub fn read(reader: &mut Reader<'_>) -> Self {
        Self { strict: reader.flag(&STRICT_DURABILITY) }
    }

    /// Says loudly what is not promised; where that is refused, `condition` is missing for as long as it is so.
    pub async fn heed(
        self,
        nats: Nats,
        condition: Condition,
        shutdown: CancellationToken,
    ) -> Result<(), BoxError> {
        condition.missing("what the provisioner found is being read");
        loop {
            let pause = match Durability::read(&nats).await.map(|found| found.enforce(self.strict))
            {
                Ok(Ok(())) => {
                    condition.holds();
                    shutdown.cancelled().await;
                    return Ok(());
                }
                Ok(Err(reason)) => {
                    error!(%reason, "DURABILITY: refused, since STRICT_DURABILITY is set");
                    condition.missing(reason.to_string());
                    LOOK_AGAIN
                }
                Err(error) => {
                    condition.missing(format!("the bucket {BUCKET} cannot be read: {error}"));
                    RETRY
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

fn read(answer: &Message) -> Option<ServerDurability> {
    let data = serde_json::from_slice::<Varz>(&answer.payload).ok()?.data?;
    let config = data.jetstream?.config?;
    Some(ServerDurability {
        name: data.server_name.unwrap_or_default(),
        version: data.version,
        sync_always: config.sync_always,
        sync_interval_ms: config.sync_interval / 1_000_000,
    })
}

fn is_old(version: &str) -> bool {
    let mut parts = version.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next()) < OLDEST
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(version: &str, sync_always: bool, sync_interval_ms: u64) -> Durability {
        let (name, version) = ("one".to_owned(), version.to_owned());
        Durability {
            servers: vec![ServerDurability { name, version, sync_always, sync_interval_ms }],
        }
    }

    #[test]
    fn the_two_minute_default_is_refused_only_when_strict() {
        let lazy = server("2.15.1", false, 120_000);
        assert_eq!(lazy.enforce(true), Err(NotDurable::Lazy(Duration::from_secs(120))));
        assert_eq!(lazy.enforce(false), Ok(()));
        assert_eq!(server("2.15.1", false, 10).enforce(true), Ok(()));
        assert_eq!(server("2.15.1", true, 120_000).enforce(true), Ok(()));
        assert_eq!(Durability::default().enforce(true), Err(NotDurable::Unknown));
        assert!(matches!(server("2.9.10", true, 1).enforce(true), Err(NotDurable::Old(_))));
    }
}

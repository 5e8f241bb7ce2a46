//! What the environment says to the read side.

use std::net::SocketAddr;
use std::time::Duration;

use runtime::config::{Mistakes, OPS_LISTEN, Reader, SHUTDOWN_GRACE_MS, Strings};
use runtime::nats::NatsConfig;
use runtime::provision::Demand;
use runtime::telemetry;

pub const SERVICE: &str = "replay";
const OPS_DEFAULT: &str = "0.0.0.0:9083";

#[derive(Clone, Debug)]
pub struct Config {
    pub nats: NatsConfig,
    pub ops_listen: Vec<SocketAddr>,
    pub telemetry: telemetry::Settings,
    pub durability: Demand,
    /// How long work in flight and the last snapshot may take on stop.
    pub grace: Duration,
    pub index: IndexConfig,
}

/// How the index is kept; operators have no reason to change it, tests do.
#[derive(Clone, Copy, Debug)]
pub struct IndexConfig {
    /// How often to ask what retention has removed.
    pub retention_every: Duration,
    /// How often to see whether a snapshot is due.
    pub snapshot_check_every: Duration,
    /// A stream that has grown by so many events is written down.
    pub snapshot_after_events: u64,
    /// One that has changed at all is written down after this long.
    pub snapshot_after: Duration,
}

impl Default for IndexConfig {
    fn default() -> Self {
        Self {
            retention_every: Duration::from_secs(5),
            snapshot_check_every: Duration::from_secs(15),
            snapshot_after_events: 200_000,
            snapshot_after: Duration::from_secs(300),
        }
    }
}

impl Config {
    pub fn read(strings: &dyn Strings) -> Result<Self, Mistakes> {
        let mut reader = Reader::new(strings);
        let config = Self {
            nats: NatsConfig::read(&mut reader, SERVICE),
            ops_listen: reader.addresses_or(&OPS_LISTEN, OPS_DEFAULT),
            telemetry: telemetry::Settings::read(&mut reader),
            durability: Demand::read(&mut reader),
            grace: reader.milliseconds(&SHUTDOWN_GRACE_MS),
            index: IndexConfig::default(),
        };
        reader.finish(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_told_at_once() {
        let given = [("OPS_LISTEN", "here"), ("NATS_CREDS", "/nowhere"), ("RUST_LOG", "=,=")];
        let Mistakes(told) = Config::read(&given).unwrap_err();
        for name in ["NATS_URL:", "OPS_LISTEN:", "NATS_CREDS:", "RUST_LOG:"] {
            assert!(told.iter().any(|line| line.starts_with(name)), "{name} in {told:?}");
        }
    }

    #[test]
    fn the_address_of_nats_is_enough() {
        let config = Config::read(&[("NATS_URL", "nats://localhost:4222")]).unwrap();
        assert_eq!(config.ops_listen, [SocketAddr::from(([0, 0, 0, 0], 9083))]);
        assert_eq!(config.nats.service, SERVICE);
    }
}

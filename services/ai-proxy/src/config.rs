//! What the environment says to the AI side.

use std::net::SocketAddr;
use std::time::Duration;

use runtime::config::{Mistakes, OPS_LISTEN, Reader, SHUTDOWN_GRACE_MS, Strings};
use runtime::nats::NatsConfig;
use runtime::telemetry;

pub const SERVICE: &str = "ai-proxy";
const OPS_DEFAULT: &str = "0.0.0.0:9082";

#[derive(Clone, Debug)]
pub struct Config {
    pub nats: NatsConfig,
    pub ops_listen: Vec<SocketAddr>,
    pub telemetry: telemetry::Settings,
    pub grace: Duration,
}

impl Config {
    pub fn read(strings: &dyn Strings) -> Result<Self, Mistakes> {
        let mut reader = Reader::new(strings);
        let config = Self {
            nats: NatsConfig::read(&mut reader, SERVICE),
            ops_listen: reader.addresses_or(&OPS_LISTEN, OPS_DEFAULT),
            telemetry: telemetry::Settings::read(&mut reader),
            grace: reader.milliseconds(&SHUTDOWN_GRACE_MS),
        };
        reader.finish(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_told_at_once() {
        let Mistakes(told) = Config::read(&[("OPS_LISTEN", "here")]).unwrap_err();
        for name in ["NATS_URL:", "OPS_LISTEN:"] {
            assert!(told.iter().any(|line| line.starts_with(name)), "{name} in {told:?}");
        }
    }
}

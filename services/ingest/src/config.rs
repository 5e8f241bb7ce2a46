//! What the environment says to the write side.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use domain::protection::WrappingKeys;
use runtime::auth;
use runtime::catalogue::LiveCatalogue;
use runtime::config::{
    CATALOGUE_DIR, CONNECTIONS_PER_ADDRESS, ESCALATION_FILE, IDEMPOTENCY_MEMORY_BYTES,
    INGEST_IN_FLIGHT, LISTEN, MAX_AUDIO_BYTES, MAX_WEBHOOK_BYTES, Mistakes, OPS_LISTEN,
    PlatformKeys, Reader, SEND_LOWAT_BYTES, SHUTDOWN_GRACE_MS, SOURCES_FILE, Strings,
};
use runtime::http::ServeOptions;
use runtime::nats::NatsConfig;
use runtime::provision::Demand;
use runtime::telemetry::chain;
use runtime::{telemetry, tls};

use crate::effects::Twilio;
use crate::escalation;
use crate::routes::BodyLimits;
use crate::sources::Registry;

pub const SERVICE: &str = "ingest";
const LISTEN_DEFAULT: &str = "0.0.0.0:8090";
const OPS_DEFAULT: &str = "0.0.0.0:9081";

pub struct Config {
    pub nats: NatsConfig,
    pub listen: Vec<SocketAddr>,
    pub ops_listen: Vec<SocketAddr>,
    pub http: ServeOptions,
    pub telemetry: telemetry::Settings,
    pub durability: Demand,
    pub bodies: BodyLimits,
    pub auth: auth::Settings,
    pub catalogue: LiveCatalogue,
    /// Where an operator adds to it.
    pub catalogue_dir: Option<PathBuf>,
    pub sources: Registry,
    /// Wraps the keys of people's data.
    pub wrapping: WrappingKeys,
    /// Who is called when an alert is not answered.
    pub chains: escalation::Registry,
    /// Where calls are ended.
    pub twilio: Option<Twilio>,
    /// Requests that wait for the log at one time; more are refused with 503.
    pub in_flight: usize,
    /// Bytes for remembering message ids over 72 hours.
    pub memory: usize,
    /// How long work in flight may take on stop.
    pub grace: Duration,
}

impl Config {
    pub fn read(strings: &dyn Strings) -> Result<Self, Mistakes> {
        let mut reader = Reader::new(strings);
        let grace = reader.milliseconds(&SHUTDOWN_GRACE_MS);
        let catalogue_dir = reader.path(&CATALOGUE_DIR);
        let catalogue = runtime::catalogue::load(catalogue_dir.as_deref());
        if let Err(error) = &catalogue {
            reader.mistake(&CATALOGUE_DIR, chain(error));
        }
        let sources = Registry::open(reader.path(&SOURCES_FILE)).unwrap_or_else(|mistakes| {
            reader.mistakes(mistakes);
            Registry::default()
        });
        let chains = escalation::Registry::open(reader.path(&ESCALATION_FILE));
        let chains = chains.unwrap_or_else(|mistakes| {
            reader.mistakes(mistakes);
            escalation::Registry::default()
        });
        let wrapping = PlatformKeys::read(&mut reader).wrapping();
        let twilio = Twilio::read(&mut reader);
        let in_flight = reader.positive(&INGEST_IN_FLIGHT);
        let memory = reader.bytes(&IDEMPOTENCY_MEMORY_BYTES);
        let config = Self {
            nats: NatsConfig::read(&mut reader, SERVICE),
            listen: reader.addresses_or(&LISTEN, LISTEN_DEFAULT),
            ops_listen: reader.addresses_or(&OPS_LISTEN, OPS_DEFAULT),
            http: http(&mut reader, grace),
            telemetry: telemetry::Settings::read(&mut reader),
            durability: Demand::read(&mut reader),
            bodies: BodyLimits {
                whole: reader.bytes(&MAX_WEBHOOK_BYTES),
                audio: reader.bytes(&MAX_AUDIO_BYTES),
            },
            auth: auth::Settings::read(&mut reader),
            catalogue: match catalogue {
                Ok(catalogue) => catalogue,
                // Its mistake is among the reader's already.
                Err(_) => return Err(reader.finish(()).err().unwrap_or(Mistakes(Vec::new()))),
            },
            catalogue_dir,
            sources,
            wrapping,
            chains,
            twilio,
            in_flight,
            memory,
            grace,
        };
        reader.finish(config)
    }
}

fn http(reader: &mut Reader<'_>, grace: Duration) -> ServeOptions {
    ServeOptions {
        tls: tls::read(reader),
        per_address: reader.number(&CONNECTIONS_PER_ADDRESS),
        send_lowat: reader.number(&SEND_LOWAT_BYTES),
        grace,
        ..ServeOptions::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_told_at_once() {
        let given = [
            ("OPS_LISTEN", "here"),
            ("SOURCES_FILE", "/nowhere"),
            ("ESCALATION_FILE", "/nowhere"),
            ("TWILIO_ACCOUNT_SID", "AC1"),
            ("INGEST_IN_FLIGHT", "0"),
            ("CATALOGUE_DIR", "/nowhere"),
        ];
        let Mistakes(told) = Config::read(&given).err().unwrap();
        for name in [
            "NATS_URL",
            "OPS_LISTEN",
            "SOURCES_FILE",
            "ESCALATION_FILE",
            "TWILIO_AUTH_TOKEN",
            "INGEST_IN_FLIGHT",
            "CATALOGUE_DIR",
            "JWT_SECRET",
            "PLATFORM_KEY",
        ] {
            assert!(told.iter().any(|line| line.starts_with(name)), "{name} in {told:?}");
        }
    }

    #[test]
    fn the_address_of_nats_and_two_keys_are_enough() {
        let given = [
            ("NATS_URL", "nats://localhost:4222"),
            ("JWT_SECRET", "0123456789abcdef0123456789abcdef"),
            ("PLATFORM_KEY", "0123456789abcdef0123456789abcdef"),
        ];
        let config = Config::read(&given).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert_eq!(config.listen, [SocketAddr::from(([0, 0, 0, 0], 8090))]);
        assert!(config.sources.current().is_empty());
        assert_eq!(config.memory, 256 << 20);
    }
}

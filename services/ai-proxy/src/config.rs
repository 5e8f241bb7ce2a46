//! What the environment says to the AI side.

use std::net::SocketAddr;
use std::time::Duration;

use domain::protection::WrappingKeys;
use runtime::catalogue::LiveCatalogue;
use runtime::config::{
    AI_FILE, AI_TEMPLATES_DIR, CATALOGUE_DIR, Mistakes, OPS_LISTEN, PlatformKeys, Reader,
    SAFETY_DIR, SHUTDOWN_GRACE_MS, Strings,
};
use runtime::nats::NatsConfig;
use runtime::provision::Demand;
use runtime::telemetry::{self, chain};

use crate::prompts::Templates;
use crate::screen;
use crate::settings::{Registry, Settings};

pub const SERVICE: &str = "ai-proxy";
const OPS_DEFAULT: &str = "0.0.0.0:9082";

#[derive(Clone)]
pub struct Config {
    pub nats: NatsConfig,
    pub ops_listen: Vec<SocketAddr>,
    pub telemetry: telemetry::Settings,
    pub durability: Demand,
    pub grace: Duration,
    pub catalogue: LiveCatalogue,
    /// Which AI service answers which tenant.
    pub settings: Registry,
    pub templates: Templates,
    pub screen: screen::Settings,
    /// For the keys of people's data.
    pub wrapping: WrappingKeys,
}

impl Config {
    pub fn read(strings: &dyn Strings) -> Result<Self, Mistakes> {
        let mut reader = Reader::new(strings);
        let catalogue = runtime::catalogue::load(reader.path(&CATALOGUE_DIR).as_deref());
        if let Err(error) = &catalogue {
            reader.mistake(&CATALOGUE_DIR, chain(error));
        }
        let common = Settings::read(&mut reader);
        let file = reader.path(&AI_FILE);
        let settings = kept(&mut reader, Registry::open(common, file));
        let folder = reader.path(&SAFETY_DIR);
        let screen = kept(&mut reader, screen::Settings::open(folder.as_deref()));
        let offered = screen.as_ref().map(screen::Settings::offered).unwrap_or_default();
        let folder = reader.path(&AI_TEMPLATES_DIR);
        let templates = kept(&mut reader, Templates::open(folder, offered));
        let wrapping = PlatformKeys::read(&mut reader).wrapping();
        let nats = NatsConfig::read(&mut reader, SERVICE);
        let ops_listen = reader.addresses_or(&OPS_LISTEN, OPS_DEFAULT);
        let telemetry = telemetry::Settings::read(&mut reader);
        let durability = Demand::read(&mut reader);
        let grace = reader.milliseconds(&SHUTDOWN_GRACE_MS);
        match (catalogue, settings, templates, screen) {
            (Ok(catalogue), Some(settings), Some(templates), Some(screen)) => reader.finish(Self {
                nats,
                ops_listen,
                telemetry,
                durability,
                grace,
                catalogue,
                settings,
                templates,
                screen,
                wrapping,
            }),
            // Their mistakes are among the reader's already.
            _ => Err(reader.finish(()).err().unwrap_or(Mistakes(Vec::new()))),
        }
    }
}

fn kept<T>(reader: &mut Reader<'_>, read: Result<T, Mistakes>) -> Option<T> {
    read.map_err(|mistakes| reader.mistakes(mistakes)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_told_at_once() {
        let given = [
            ("OPS_LISTEN", "here"),
            ("AI_PROVIDER", "magic"),
            ("AI_FILE", "/nowhere"),
            ("AI_TEMPLATES_DIR", "/nowhere"),
            ("CATALOGUE_DIR", "/nowhere"),
        ];
        let Mistakes(told) = Config::read(&given).err().unwrap();
        for name in [
            "NATS_URL:",
            "PLATFORM_KEY:",
            "OPS_LISTEN:",
            "AI_PROVIDER:",
            "AI_FILE:",
            "AI_TEMPLATES_DIR:",
            "CATALOGUE_DIR:",
        ] {
            assert!(told.iter().any(|line| line.starts_with(name)), "{name} in {told:?}");
        }
    }

    #[test]
    fn the_address_of_nats_and_a_key_are_enough() {
        let given = [
            ("NATS_URL", "nats://localhost:4222"),
            ("PLATFORM_KEY", "a platform key of more than thirty-two characters"),
        ];
        let config = Config::read(&given);
        let config = config.unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert_eq!(config.settings.of("acme").concurrency, 256);
        assert!(config.templates.of("acme").system.contains("988"));
    }
}

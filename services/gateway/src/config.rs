//! What the environment says to the gateway.

use std::net::SocketAddr;
use std::time::Duration;

use domain::cursor::CursorKeys;
use domain::protection::WrappingKeys;
use runtime::auth;
use runtime::catalogue::LiveCatalogue;
use runtime::config::{
    AUTH_TIMEOUT_MS, CATALOGUE_DIR, CONNECTIONS_PER_ADDRESS, DECISION_WAIT_MS, HEARTBEAT_MS,
    LAG_TIMEOUT_MS, LISTEN, MAX_CHANNELS, MAX_HISTORY_EVENTS, MAX_MESSAGE_BYTES,
    MESSAGES_PER_SECOND, Mistakes, OPS_LISTEN, PAGE_CACHE_BYTES, PRESENCE_GRACE_MS, PlatformKeys,
    Reader, SEND_LOWAT_BYTES, SHUTDOWN_GRACE_MS, SOCKETIO_POSITION_MS, SOCKETIO_REPLAY_DELAY_MS,
    Strings, TAIL_BYTES, TAIL_WARM_EVENTS, TYPING_TIMEOUT_MS,
};
use runtime::http::ServeOptions;
use runtime::nats::NatsConfig;
use runtime::provision::Demand;
use runtime::telemetry::{self, chain};
use runtime::tls;

pub const SERVICE: &str = "gateway";
const LISTEN_DEFAULT: &str = "0.0.0.0:8080";
const LINE_IS_DEAD: Duration = Duration::from_secs(5);
const OPS_DEFAULT: &str = "0.0.0.0:9080";

#[derive(Clone)]
pub struct Config {
    pub nats: NatsConfig,
    pub listen: Vec<SocketAddr>,
    pub ops_listen: Vec<SocketAddr>,
    pub http: ServeOptions,
    pub auth: auth::Settings,
    pub keys: CursorKeys,
    /// For the keys of people's data.
    pub wrapping: WrappingKeys,
    pub catalogue: LiveCatalogue,
    pub telemetry: telemetry::Settings,
    pub durability: Demand,
    pub memory: Memory,
    pub limits: Limits,
    /// How long connections may take to end on stop.
    pub grace: Duration,
}

#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub tail_bytes: usize,
    pub warm_events: u64,
    pub cache_bytes: usize,
}

/// What one connection may do.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub heartbeat: Duration,
    pub lag: Duration,
    pub authenticate_within: Duration,
    /// Before events follow a Socket.IO client's silent CONNECT.
    pub replay_delay: Duration,
    /// How often a Socket.IO client that is sent nothing is told where it stands; far more often than retention ends.
    pub position_every: Duration,
    pub message_bytes: usize,
    pub channels: usize,
    pub history_events: usize,
    pub messages_per_second: u32,
    /// How long a command's answer waits for the decision before it says that there is none yet.
    pub decision: Duration,
    /// How long a client may be away before it counts as gone.
    pub presence_grace: Duration,
    /// How long a client that says nothing more counts as typing.
    pub typing: Duration,
}

impl Config {
    pub fn read(strings: &dyn Strings) -> Result<Self, Mistakes> {
        let mut reader = Reader::new(strings);
        let keys = PlatformKeys::read(&mut reader);
        let catalogue = runtime::catalogue::load(reader.path(&CATALOGUE_DIR).as_deref());
        if let Err(error) = &catalogue {
            reader.mistake(&CATALOGUE_DIR, chain(error));
        }
        let config = Self {
            nats: NatsConfig::read(&mut reader, SERVICE),
            listen: reader.addresses_or(&LISTEN, LISTEN_DEFAULT),
            ops_listen: reader.addresses_or(&OPS_LISTEN, OPS_DEFAULT),
            http: http(&mut reader),
            auth: auth::Settings::read(&mut reader),
            keys: CursorKeys::new(keys.newest(), keys.previous()),
            wrapping: keys.wrapping(),
            telemetry: telemetry::Settings::read(&mut reader),
            durability: Demand::read(&mut reader),
            memory: Memory {
                tail_bytes: reader.bytes(&TAIL_BYTES),
                warm_events: reader.number(&TAIL_WARM_EVENTS),
                cache_bytes: reader.bytes(&PAGE_CACHE_BYTES),
            },
            limits: limits(&mut reader),
            grace: reader.milliseconds(&SHUTDOWN_GRACE_MS),
            catalogue: match catalogue {
                Ok(catalogue) => catalogue,
                // Its mistake is among the reader's already.
                Err(_) => return Err(reader.finish(()).err().unwrap_or(Mistakes(Vec::new()))),
            },
        };
        reader.finish(config)
    }
}

fn http(reader: &mut Reader<'_>) -> ServeOptions {
    ServeOptions {
        tls: tls::read(reader),
        per_address: reader.number(&CONNECTIONS_PER_ADDRESS),
        send_lowat: reader.number(&SEND_LOWAT_BYTES),
        // A moment later than the gateway itself would end it, with a reason where the line still carries one.
        dead_after: reader.milliseconds(&LAG_TIMEOUT_MS) + LINE_IS_DEAD,
        ..ServeOptions::default()
    }
}

fn limits(reader: &mut Reader<'_>) -> Limits {
    Limits {
        heartbeat: reader.positive_milliseconds(&HEARTBEAT_MS),
        lag: reader.milliseconds(&LAG_TIMEOUT_MS),
        authenticate_within: reader.milliseconds(&AUTH_TIMEOUT_MS),
        replay_delay: reader.milliseconds(&SOCKETIO_REPLAY_DELAY_MS),
        position_every: reader.milliseconds(&SOCKETIO_POSITION_MS),
        message_bytes: reader.bytes(&MAX_MESSAGE_BYTES),
        channels: reader.positive(&MAX_CHANNELS),
        history_events: reader.number(&MAX_HISTORY_EVENTS),
        messages_per_second: reader.positive(&MESSAGES_PER_SECOND),
        decision: reader.milliseconds(&DECISION_WAIT_MS),
        presence_grace: reader.milliseconds(&PRESENCE_GRACE_MS),
        typing: reader.milliseconds(&TYPING_TIMEOUT_MS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_told_at_once() {
        let given = [
            ("LISTEN", "here"),
            ("CATALOGUE_DIR", "/nowhere"),
            ("HEARTBEAT_MS", "0"),
            ("MAX_CHANNELS", "0"),
            ("MESSAGES_PER_SECOND", "0"),
            ("TLS_CERT_FILE", "/nowhere/a"),
            ("TLS_KEY_FILE", "/nowhere/b"),
        ];
        let Mistakes(told) = Config::read(&given).err().unwrap();
        for name in given.map(|(name, _)| name).into_iter().chain(["NATS_URL", "PLATFORM_KEY"]) {
            assert!(told.iter().any(|line| line.starts_with(name)), "{name} in {told:?}");
        }
    }
}

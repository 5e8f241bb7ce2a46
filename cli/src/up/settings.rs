//! What `up` reads besides the services' own variables: where everything listens, and the values it makes up.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use runtime::config::{DEFAULT_TENANT, Fallback, Reader, Strings, TLS_CERT_FILE, Variable};

use crate::data::Secrets;

const GATEWAY_LISTEN: Variable = Variable {
    name: "GATEWAY_LISTEN",
    default: Fallback::Is("127.0.0.1:8080"),
    meaning: "Addresses of the gateway, comma-separated.",
    secret: false,
};
const INGEST_LISTEN: Variable = Variable {
    name: "INGEST_LISTEN",
    default: Fallback::Is("127.0.0.1:8090"),
    meaning: "Addresses of ingest, comma-separated.",
    secret: false,
};
const NATS_PORT: Variable = Variable {
    name: "NATS_PORT",
    default: Fallback::Is("4222"),
    meaning: "Port of the nats-server that `up` starts; 0 lets the system choose.",
    secret: false,
};
const OPS_PORT_BASE: Variable = Variable {
    name: "OPS_PORT_BASE",
    default: Fallback::Is("9080"),
    meaning: "First of four ports for operations: gateway, ingest, ai-proxy, replay; 0 lets the system choose.",
    secret: false,
};
const NATS_SERVER_BIN: Variable = Variable {
    name: "NATS_SERVER_BIN",
    default: Fallback::Varies("the PATH, else the cache, else fetched"),
    meaning: "The nats-server program, 2.15 or newer.",
    secret: false,
};
const NATS_MAX_FILE_STORE: Variable = Variable {
    name: "NATS_MAX_FILE_STORE",
    default: Fallback::Is("64GB"),
    meaning: "All that JetStream may use in the data folder.",
    secret: false,
};
const THROUGHLINE_DATA: Variable = Variable {
    name: "THROUGHLINE_DATA",
    default: Fallback::Is(".throughline"),
    meaning: "The data folder; `--data` wins over it.",
    secret: false,
};
const THROUGHLINE_CACHE: Variable = Variable {
    name: "THROUGHLINE_CACHE",
    default: Fallback::Varies("the user's cache folder"),
    meaning: "Where a fetched nats-server is kept.",
    secret: false,
};

/// What `up` reads besides the services' variables.
pub(crate) const VARIABLES: &[Variable] = &[
    GATEWAY_LISTEN,
    INGEST_LISTEN,
    NATS_PORT,
    OPS_PORT_BASE,
    NATS_SERVER_BIN,
    NATS_MAX_FILE_STORE,
    THROUGHLINE_DATA,
    THROUGHLINE_CACHE,
];

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) gateway: Vec<SocketAddr>,
    pub(crate) ingest: Vec<SocketAddr>,
    pub(crate) nats_port: u16,
    pub(crate) ops_base: u16,
    pub(crate) max_file_store: String,
    pub(crate) tenant: String,
    /// Whether the gateway and ingest speak TLS.
    pub(crate) tls: bool,
    /// The names among [`MADE_UP`] that the environment leaves to us.
    left_to_us: Vec<&'static str>,
}

/// Quiet: a terminal is for what goes wrong. Connections of our own come and go with what `up` starts and stops, and
/// the client below them tells of every single attempt.
pub(crate) const LOG: &str = "warn,runtime::nats::connection=error,runtime::log_reader::driver=error,async_nats::connector=off";

/// What is made up when none of the names beside it is set.
const MADE_UP: [(&str, &[&str]); 3] = [
    ("PLATFORM_KEY", &["PLATFORM_KEY", "PLATFORM_KEY_FILE"]),
    (
        "JWT_SECRET",
        &[
            "JWT_SECRET",
            "JWT_SECRET_FILE",
            "JWT_PUBLIC_KEY_FILE",
            "JWT_JWKS_URL",
            "APPLICATIONS_FILE",
        ],
    ),
    ("SOURCES_FILE", &["SOURCES_FILE"]),
];

impl Settings {
    /// Its mistakes are the reader's.
    pub(crate) fn read(strings: &dyn Strings, reader: &mut Reader<'_>) -> Self {
        let is_set = |name: &&str| strings.get(name).is_some_and(|value| !value.trim().is_empty());
        let ours = MADE_UP.iter().filter(|(_, names)| !names.iter().any(is_set));
        let tenant = reader.text(&DEFAULT_TENANT);
        let settings = Self {
            gateway: addresses(reader, &GATEWAY_LISTEN),
            ingest: addresses(reader, &INGEST_LISTEN),
            nats_port: reader.parsed(&NATS_PORT, "a port").unwrap_or_default(),
            ops_base: reader.parsed(&OPS_PORT_BASE, "a port").unwrap_or_default(),
            max_file_store: reader.text(&NATS_MAX_FILE_STORE),
            // A tenant that every token names itself says nothing about the development sources.
            tenant: if tenant == "from-token" { "default".to_owned() } else { tenant },
            tls: reader.is_given(&TLS_CERT_FILE),
            left_to_us: ours.map(|(name, _)| *name).collect(),
        };
        if settings.ops_base > u16::MAX - 4 {
            reader.mistake(&OPS_PORT_BASE, "leaves no room for four ports");
        }
        settings
    }

    /// Whether the development sources are in force.
    pub(crate) fn has_own_sources(&self) -> bool {
        self.left_to_us.contains(&"SOURCES_FILE")
    }

    /// The values that are made up, as a service reads them.
    pub(crate) fn made_up(&self, secrets: &Secrets) -> BTreeMap<String, String> {
        self.values(|name| match name {
            "PLATFORM_KEY" => secrets.platform_key.clone(),
            "JWT_SECRET" => secrets.jwt_secret.clone(),
            _ => secrets.sources.display().to_string(),
        })
    }

    /// What stands in for them before they are made, to see what else is wrong; the sources may be missing.
    pub(crate) fn stand_ins(&self) -> BTreeMap<String, String> {
        self.values(|name| if name == "SOURCES_FILE" { String::new() } else { "-".repeat(64) })
    }

    fn values(&self, value: impl Fn(&str) -> String) -> BTreeMap<String, String> {
        let mut values: BTreeMap<_, _> =
            self.left_to_us.iter().map(|name| ((*name).to_owned(), value(name))).collect();
        values.insert("RUST_LOG".to_owned(), LOG.to_owned());
        values
    }
}

fn addresses(reader: &mut Reader<'_>, variable: &Variable) -> Vec<SocketAddr> {
    let Fallback::Is(default) = variable.default else { return Vec::new() };
    reader.addresses_or(variable, default)
}

#[cfg(test)]
mod tests {
    use runtime::config::Mistakes;

    use super::*;

    fn read(strings: &dyn Strings) -> Result<Settings, Mistakes> {
        let mut reader = Reader::new(strings);
        let settings = Settings::read(strings, &mut reader);
        reader.finish(settings)
    }

    #[test]
    fn all_mistakes_are_told_together() {
        let given = [("GATEWAY_LISTEN", "here"), ("NATS_PORT", "many"), ("OPS_PORT_BASE", "65534")];
        let Mistakes(told) = read(&given).unwrap_err();
        for name in ["GATEWAY_LISTEN:", "NATS_PORT:", "OPS_PORT_BASE:"] {
            assert!(told.iter().any(|line| line.starts_with(name)), "{name} in {told:?}");
        }
    }

    #[test]
    fn what_the_environment_sets_is_not_made_up() {
        let settings = read(&[("JWT_JWKS_URL", "https://id.example.com/keys")]).unwrap();
        assert_eq!(settings.left_to_us, ["PLATFORM_KEY", "SOURCES_FILE"]);
        let settings = read(&[("PLATFORM_KEY_FILE", "/run/key")]).unwrap();
        assert_eq!(settings.left_to_us, ["JWT_SECRET", "SOURCES_FILE"]);
    }
}

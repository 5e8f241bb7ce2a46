//! Development secrets: made once at random, kept in the data folder, never printed except where a person needs them.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use runtime::nats_server::Passwords;

use crate::data::{DataFolder, shown};
use crate::failure::Failure;

/// The users of nats-server: one per service, the provisioner, and the system account's.
const SERVICES: [&str; 6] = ["ingest", "ai-proxy", "gateway", "replay", "admin", "sys"];

#[derive(Debug, Clone)]
pub(crate) struct Secrets {
    pub(crate) platform_key: String,
    pub(crate) jwt_secret: String,
    /// In the order of [`SERVICES`].
    passwords: Vec<String>,
    /// The file of the development sources.
    pub(crate) sources: PathBuf,
}

impl Secrets {
    /// Reads the folder's secrets and makes those that are not there.
    /// `tenant` is whose the development sources are.
    pub(crate) fn load_or_make(folder: &DataFolder, tenant: Option<&str>) -> Result<Self, Failure> {
        let path = folder.secrets_path();
        let kept = DataFolder::create(&path)?;
        let file = |name: &str, make: &dyn Fn() -> String| keep(&kept.path().join(name), make);
        let passwords = SERVICES
            .iter()
            .map(|service| {
                // The server reads a password that begins with a digit as a number.
                let creds =
                    file(&format!("nats-{service}"), &|| format!("{service}:p{}", random()))?;
                Ok(creds.split_once(':').map_or(String::new(), |(_, word)| word.to_owned()))
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        let secrets = Self {
            platform_key: file("platform-key", &random)?,
            jwt_secret: file("jwt-secret", &random)?,
            passwords,
            sources: kept.path().join("sources.toml"),
        };
        file("sources.toml", &|| sources(tenant.unwrap_or("default")))?;
        file("nats.env", &|| secrets.nats_environment_file())?;
        Ok(secrets)
    }

    /// Has what the development sources sign, which is this machine's address, follow ingest to where it is now.
    pub(crate) fn move_sources(&self, before: &str, now: &str) -> Result<(), Failure> {
        let told = |error| Failure::failed(self.sources.display().to_string(), error);
        let old = std::fs::read_to_string(&self.sources).map_err(told)?;
        let new = at_address(&old, &shown(before), &shown(now));
        if new == old { Ok(()) } else { std::fs::write(&self.sources, new).map_err(told) }
    }

    /// As nats-server takes them.
    pub(crate) fn passwords(&self) -> Result<Passwords, Failure> {
        let of = |user: &str| {
            let index = SERVICES.iter().position(|name| *name == user)?;
            self.passwords.get(index).cloned()
        };
        Passwords::chosen(of).ok_or_else(|| Failure::Failed("a user has no password".to_owned()))
    }

    fn nats_environment_file(&self) -> String {
        let mut text = String::new();
        for (service, password) in SERVICES.iter().zip(&self.passwords) {
            let _infallible = writeln!(text, "export {}={password}", Passwords::variable(service));
        }
        text
    }

    /// `nats://user:password@…` of one service.
    pub(crate) fn nats_url(&self, service: &str, address: &str) -> String {
        let index = SERVICES.iter().position(|name| *name == service);
        let password = index.and_then(|index| self.passwords.get(index));
        // The address may name another user already.
        let host = address.rsplit(['@', '/']).next().unwrap_or(address);
        match password {
            Some(password) => format!("nats://{service}:{password}@{host}"),
            None => format!("nats://{host}"),
        }
    }
}

/// 288 random bits as URL-safe text.
fn random() -> String {
    URL_SAFE_NO_PAD.encode(runtime::ids::random_bytes::<36>())
}

/// What the file holds; made at first, readable by its owner alone.
fn keep(path: &Path, make: &dyn Fn() -> String) -> Result<String, Failure> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let told = |error| Failure::failed(path.display().to_string(), error);
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            let text = make();
            file.write_all(text.as_bytes()).map_err(told)?;
            Ok(text)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            std::fs::read_to_string(path).map(|text| text.trim_end().to_owned()).map_err(told)
        }
        Err(error) => Err(told(error)),
    }
}

/// The sources with the address that is printed, where this machine's name or ingest's last address stood; others stay.
fn at_address(sources: &str, before: &str, now: &str) -> String {
    let is_local = |url: &str| {
        let port = url.split_once("://localhost:").map(|(_, port)| port);
        port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let is_ours = |line: &&str| {
        let url = line.trim().strip_prefix("public_url = \"").and_then(|url| url.strip_suffix('"'));
        url.is_some_and(|url| url == before || is_local(url))
    };
    let moved = format!("public_url = \"{now}\"");
    let lines = sources.lines().map(|line| if is_ours(&line) { &*moved } else { line });
    lines.map(|line| format!("{line}\n")).collect()
}

/// One source per provider, each the default of its provider.
fn sources(tenant: &str) -> String {
    let mut text = "# The development sources, made once. Change them as you like; they are read again on SIGHUP.\n".to_owned();
    let standard = format!("whsec_{}", STANDARD.encode(runtime::ids::random_bytes::<32>()));
    let own = [
        ("twilio", random(), "public_url = \"http://localhost:8090\"\n".to_owned()),
        ("elevenlabs", random(), String::new()),
        ("callerdesk", random(), "allow_from = [\"127.0.0.0/8\", \"::1/128\"]\n".to_owned()),
        ("whatsapp", random(), format!("verify_token = \"{}\"\n", random())),
        ("standard", standard, String::new()),
    ];
    for (provider, secret, more) in own {
        let _infallible = write!(
            text,
            "\n[[source]]\nname = \"dev-{provider}\"\nprovider = \"{provider}\"\ntenant = \"{tenant}\"\n\
             secrets = [\"{secret}\"]\n{more}default = true\n"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let folder = DataFolder::create(&folder.path().join("data")).unwrap();
        let first = Secrets::load_or_make(&folder, None).unwrap();
        let again = Secrets::load_or_make(&folder, None).unwrap();
        assert_eq!(first.platform_key, again.platform_key);
        assert!(first.passwords().unwrap() == again.passwords().unwrap());
        assert!(first.platform_key.len() >= 32);
        let url = again.nats_url("gateway", "127.0.0.1:4222");
        assert!(url.starts_with("nats://gateway:") && url.ends_with("@127.0.0.1:4222"), "{url}");
    }

    #[test]
    fn nobody_else_may_read_them() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let folder = DataFolder::create(&folder.path().join("data")).unwrap();
        Secrets::load_or_make(&folder, None).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o077;
        assert_eq!(mode(folder.path()), 0);
        for file in std::fs::read_dir(folder.secrets_path()).unwrap() {
            assert_eq!(mode(&file.unwrap().path()), 0);
        }
    }

    #[test]
    fn what_the_sources_sign_follows_ingest_and_nothing_else_does() {
        let mine = "public_url = \"https://hooks.example.com\"\n";
        let old = format!("{mine}{}", sources("acme"));
        let (usual, tls, lan) =
            ("http://localhost:8090", "https://localhost:9443", "http://192.0.2.7:8090");
        let moved = at_address(&old, usual, tls);
        assert!(moved.contains("public_url = \"https://localhost:9443\"\n"), "{moved}");
        assert!(moved.starts_with(mine), "{moved}");
        let away = at_address(&moved, tls, lan);
        assert!(away.contains("public_url = \"http://192.0.2.7:8090\"\n"), "{away}");
        assert_eq!(at_address(&away, lan, usual), old);
    }

    #[test]
    fn there_is_one_development_source_per_provider() {
        let text: toml::Table = sources("acme").parse().unwrap();
        let sources = text["source"].as_array().unwrap();
        assert_eq!(sources.len(), 5);
        assert!(sources.iter().all(|source| source["tenant"].as_str() == Some("acme")));
    }
}

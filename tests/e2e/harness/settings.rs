//! The files and variables that the services are configured with, as an operator writes them.

use std::net::SocketAddr;
use std::path::Path;

use super::{NatsServer, Service, TENANT};
use crate::clients::token::SECRET;

pub(crate) const ORIGIN: &str = "http://localhost:5173";
pub(crate) const PUBLIC_URL: &str = "https://hooks.example.com";
pub(crate) const TWILIO: &str = "twilio-auth-token-of-the-test";
pub(crate) const ELEVENLABS: &str = "wsec_elevenlabs_secret_of_the_test";
pub(crate) const WHATSAPP: &str = "whatsapp-app-secret-of-the-test";
pub(crate) const STANDARD: &str = "whsec_c3RhbmRhcmQtd2ViaG9va3Mtc2VjcmV0LW9mLXRlc3Q=";
pub(super) const PLATFORM_KEY: &str = "platform-key-of-the-test-0123456789abcdef";

pub(super) fn write(folder: &Path, origin: &str, more_applications: &str) {
    let applications = format!(
        r#"[[application]]
name = "test"
tenant = "from-token"
origins = ["{ORIGIN}", "{origin}"]
key = {{ secret = "{SECRET}" }}
expiry = "required"
default_role = "user"
cookie = "token"
{more_applications}"#
    );
    let sources = format!(
        r#"[[source]]
name = "acme-twilio"
provider = "twilio"
tenant = "{TENANT}"
secrets = ["{TWILIO}", "a-secret-that-was-valid-before"]
public_url = "{PUBLIC_URL}"
default = true

[[source]]
name = "acme-elevenlabs"
provider = "elevenlabs"
tenant = "{TENANT}"
secrets = ["{ELEVENLABS}"]

[[source]]
name = "acme-callerdesk"
provider = "callerdesk"
tenant = "{TENANT}"
secrets = ["callerdesk-path-secret"]
default = true

[[source]]
name = "acme-whatsapp"
provider = "whatsapp"
tenant = "{TENANT}"
secrets = ["{WHATSAPP}"]
verify_token = "whatsapp-verify-token"
accounts = {{ "1055" = "account-7" }}

[[source]]
name = "acme-standard"
provider = "standard"
tenant = "{TENANT}"
secrets = ["{STANDARD}"]
"#
    );
    std::fs::write(folder.join("applications.toml"), applications).unwrap();
    std::fs::write(folder.join("sources.toml"), sources).unwrap();
}

pub(super) fn environment(
    service: Service,
    folder: &Path,
    nats: &NatsServer,
    nats_address: SocketAddr,
) -> Vec<(String, String)> {
    let user = match service {
        Service::Ingest | Service::SecondIngest => "ingest",
        Service::AiProxy => "ai-proxy",
        Service::Replay => "replay",
        Service::Gateway | Service::SecondGateway => "gateway",
    };
    let file = |name: &str| folder.join(name).display().to_string();
    let variables = [
        ("NATS_URL", nats.url_at(user, nats_address)),
        ("PLATFORM_KEY", PLATFORM_KEY.to_owned()),
        ("APPLICATIONS_FILE", file("applications.toml")),
        ("SOURCES_FILE", file("sources.toml")),
        ("RUST_LOG", "info".to_owned()),
    ];
    variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

//! What the environment says about NATS, the same for every service.

use super::{Credentials, NatsConfig};
use crate::config::{NATS_CREDS, NATS_URL, Reader};

impl NatsConfig {
    pub fn read(reader: &mut Reader<'_>, service: &str) -> Self {
        let url = reader.text(&NATS_URL);
        Self { url, credentials: credentials(reader), service: service.to_owned() }
    }
}

fn credentials(reader: &mut Reader<'_>) -> Option<Credentials> {
    let path = reader.path(&NATS_CREDS)?;
    let read = std::fs::read_to_string(&path).map_err(|error| error.to_string());
    match read.and_then(|text| Credentials::parse(&text).map_err(|error| error.to_string())) {
        Ok(credentials) => Some(credentials),
        Err(error) => {
            reader.mistake(&NATS_CREDS, format_args!("{}: {error}", path.display()));
            None
        }
    }
}

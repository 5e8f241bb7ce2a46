//! The passwords of the server's users, as its configuration takes them from the environment.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Every user of `users.conf` and the system account's.
const USERS: [&str; 6] = ["sys", "admin", "ingest", "ai-proxy", "gateway", "replay"];

/// By user. Serializable, so that a data folder can keep them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Passwords(BTreeMap<String, String>);

impl Passwords {
    pub fn generate() -> Self {
        // Begins with a letter: the server reads what begins with a digit as a number.
        Self::made_by(|_| {
            crate::ids::random_bytes::<16>()
                .iter()
                .fold("p".to_owned(), |text, byte| format!("{text}{byte:02x}"))
        })
    }

    /// Chosen by user; `None` when one of them has none.
    pub fn chosen(password_of: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let chosen = USERS.iter().map(|user| Some(((*user).to_owned(), password_of(user)?)));
        chosen.collect::<Option<_>>().map(Self)
    }

    pub(crate) fn made_by(password_of: impl Fn(&str) -> String) -> Self {
        Self(USERS.iter().map(|user| ((*user).to_owned(), password_of(user))).collect())
    }

    pub fn get(&self, user: &str) -> Option<&str> {
        self.0.get(user).map(String::as_str)
    }

    /// `NATS_AI_PROXY_PASSWORD` for `ai-proxy`.
    pub fn variable(user: &str) -> String {
        format!("NATS_{}_PASSWORD", user.to_uppercase().replace('-', "_"))
    }

    pub fn url(&self, user: &str, address: SocketAddr) -> String {
        format!("nats://{user}:{}@{address}", self.get(user).unwrap_or_default())
    }

    pub(super) fn environment(&self) -> impl Iterator<Item = (String, &str)> {
        self.0.iter().map(|(user, password)| (Self::variable(user), password.as_str()))
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passwords(redacted)")
    }
}

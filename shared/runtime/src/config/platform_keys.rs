//! The platform's own keys, from which those for every other purpose are derived.

use domain::protection::WrappingKeys;

use crate::config::{PLATFORM_KEY, PLATFORM_KEY_PREVIOUS, Reader, Secret};

/// The shortest platform key that is accepted, in bytes.
const SHORTEST: usize = 32;

/// The newest, and the one before while it is being replaced.
pub struct PlatformKeys {
    newest: Secret,
    previous: Option<Secret>,
}

impl PlatformKeys {
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let newest = reader.required_secret(&PLATFORM_KEY);
        if (1..SHORTEST).contains(&newest.expose().len()) {
            let text = format!("too short; use at least {SHORTEST} random characters");
            reader.mistake(&PLATFORM_KEY, text);
        }
        Self { newest, previous: reader.secret(&PLATFORM_KEY_PREVIOUS) }
    }

    pub fn newest(&self) -> &[u8] {
        self.newest.expose().as_bytes()
    }

    pub fn previous(&self) -> Option<&[u8]> {
        self.previous.as_ref().map(|key| key.expose().as_bytes())
    }

    /// For the keys of people's data.
    pub fn wrapping(&self) -> WrappingKeys {
        WrappingKeys::new(self.newest(), self.previous())
    }
}

//! Which webhooks are served: the sources of `SOURCES_FILE`, read whole with every mistake at once.
//!
//! Pure but for the reader of secret files that the caller hands in. It must not know HTTP or NATS.

use std::collections::HashMap;
use std::sync::Arc;

use domain::token::{Tenant, Token};
use runtime::config::{Mistakes, Secret};

mod file;
mod network;
mod registry;
#[cfg(test)]
mod tests;

pub use network::Network;
pub use registry::Registry;

/// Who sends: it fixes how a request is verified and read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Provider {
    Twilio,
    ElevenLabs,
    CallerDesk,
    WhatsApp,
    Standard,
}

impl Provider {
    pub const ALL: [Self; 5] =
        [Self::Twilio, Self::ElevenLabs, Self::CallerDesk, Self::WhatsApp, Self::Standard];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Twilio => "twilio",
            Self::ElevenLabs => "elevenlabs",
            Self::CallerDesk => "callerdesk",
            Self::WhatsApp => "whatsapp",
            Self::Standard => "standard",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|provider| provider.name() == name)
    }

    /// The last segments of the paths it is served at; a sender of Standard Webhooks may choose its own.
    pub fn serves(self, kind: &str) -> bool {
        match self {
            Self::Twilio => ["call-status", "recording-status", "amd-status", "quality-insights"]
                .contains(&kind),
            Self::ElevenLabs => kind == "post-call",
            Self::CallerDesk | Self::WhatsApp => kind == "events",
            Self::Standard => true,
        }
    }
}

/// One configured sender.
#[derive(Debug)]
pub struct Source {
    /// `{source}` in the path.
    pub name: Token,
    pub provider: Provider,
    pub tenant: Tenant,
    /// Any of them verifies; two while rotating.
    pub secrets: Vec<Secret>,
    /// The origin that Twilio signs, without a slash at its end.
    pub public_url: String,
    /// The answer to WhatsApp's challenge.
    pub verify_token: Option<Secret>,
    /// WhatsApp: phone_number_id to whatsappAccountId.
    pub accounts: HashMap<String, String>,
    /// The user whose channel also gets this source's events.
    pub owner: Option<String>,
    /// Serves the seeds' own paths.
    pub default: bool,
    /// CallerDesk: networks that need no secret.
    pub allow_from: Vec<Network>,
}

impl Source {
    /// The `source` attribute of its events. Publishers cannot use the prefix, so none can take a webhook's
    /// message id before the webhook comes.
    pub fn attribute(&self) -> String {
        format!("{ATTRIBUTE_PREFIX}{}", self.name)
    }
}

/// What the `source` attribute of every webhook's event begins with.
pub const ATTRIBUTE_PREFIX: &str = "/webhooks/";

/// All sources; replaced whole when the file changes.
#[derive(Debug, Default)]
pub struct Sources {
    by_name: HashMap<Token, Arc<Source>>,
    defaults: HashMap<Provider, Arc<Source>>,
}

impl Sources {
    /// `read` reads a file of `secrets_files`.
    pub fn parse(
        text: &str,
        read: &dyn Fn(&str) -> std::io::Result<String>,
    ) -> Result<Self, Mistakes> {
        let (sources, mut mistakes) = file::parse(text, read);
        let mut all = Self::default();
        for source in sources {
            all.add(source, &mut mistakes);
        }
        if mistakes.is_empty() { Ok(all) } else { Err(Mistakes(mistakes)) }
    }

    fn add(&mut self, source: Source, mistakes: &mut Vec<String>) {
        let source = Arc::new(source);
        if let Some(other) = self.by_name.insert(source.name.clone(), source.clone()) {
            mistakes.push(format!("source {:?}: name: is used twice", other.name));
        }
        if !source.default {
            return;
        }
        if let Some(other) = self.defaults.insert(source.provider, source.clone()) {
            let (name, provider) = (&source.name, source.provider.name());
            mistakes.push(format!(
                "source {name:?}: default: {:?} is the default of {provider} already",
                other.name
            ));
        }
    }

    pub fn named(&self, name: &str) -> Option<&Arc<Source>> {
        self.by_name.get(&Token::parse(name).ok()?)
    }

    /// The source that serves the seeds' own paths of a provider.
    pub fn default_of(&self, provider: Provider) -> Option<&Arc<Source>> {
        self.defaults.get(&provider)
    }

    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

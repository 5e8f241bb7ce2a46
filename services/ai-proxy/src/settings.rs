//! Which AI service answers which tenant, and what it may take: the environment for all, `AI_FILE` for single ones.
//! It must not know how a service is spoken to.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use runtime::config::{AI_FILE, Mistakes, Secret};

use crate::providers::{Deadlines, Models, Usage};

mod environment;
mod file;

/// The kinds of services there are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    Scripted,
    Ezri,
    OpenAi,
}

impl Kind {
    pub const NAMES: [(&'static str, Self); 3] =
        [("scripted", Self::Scripted), ("ezri", Self::Ezri), ("openai", Self::OpenAi)];
}

/// What a tenant's answers come from and may take.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    pub kind: Kind,
    /// Given for every kind that has an address.
    pub url: String,
    pub key: Option<Secret>,
    pub models: Models,
    pub deadlines: Deadlines,
    /// Answers that one instance writes at one time.
    pub concurrency: usize,
    /// Over all instances; 0 for no limit.
    pub tokens_per_hour: u64,
    pub price: Option<Price>,
    /// How long sound is kept in the object store; `None` keeps none.
    pub keep_audio: Option<std::time::Duration>,
}

#[cfg(test)]
impl Settings {
    /// As a test needs them that asks nobody.
    pub(crate) fn of(kind: Kind) -> Self {
        Self {
            kind,
            url: "http://localhost:1".to_owned(),
            key: None,
            models: Models::default(),
            deadlines: Deadlines::default(),
            concurrency: 1,
            tokens_per_hour: 0,
            price: None,
            keep_audio: None,
        }
    }
}

/// Of a million tokens.
#[derive(Clone, PartialEq, Debug)]
pub struct Price {
    pub prompt: f64,
    pub completion: f64,
    pub currency: String,
}

impl Price {
    pub fn of(&self, usage: &Usage) -> f64 {
        let count = |tokens: u64| f64::from(u32::try_from(tokens).unwrap_or(u32::MAX));
        let cost = count(usage.prompt) * self.prompt + count(usage.completion) * self.completion;
        // Whole millionths, so that sums stay readable.
        cost.round() / 1_000_000.0
    }
}

/// The settings of all tenants; replaced whole when the file changes.
#[derive(Debug)]
pub struct All {
    common: Arc<Settings>,
    tenants: HashMap<String, Arc<Settings>>,
}

/// A cheap-clone handle that always gives the settings in force.
#[derive(Clone, Debug)]
pub struct Registry {
    file: Option<PathBuf>,
    common: Arc<Settings>,
    current: Arc<RwLock<Arc<All>>>,
}

impl Registry {
    /// `common` is what the environment says, which holds for tenants that the file does not name.
    pub fn open(common: Settings, file: Option<PathBuf>) -> Result<Self, Mistakes> {
        let common = Arc::new(common);
        let all = Arc::new(All { common: common.clone(), tenants: HashMap::new() });
        let registry = Self { file, common, current: Arc::new(RwLock::new(all)) };
        registry.reload()?;
        Ok(registry)
    }

    /// Reads the file again; when anything in it is wrong, nothing changes.
    pub fn reload(&self) -> Result<(), Mistakes> {
        let Some(path) = &self.file else { return Ok(()) };
        let label = |problem: String| format!("{}: {}: {problem}", AI_FILE.name, path.display());
        let text = std::fs::read_to_string(path)
            .map_err(|error| Mistakes::one(label(format!("cannot be read: {error}"))))?;
        let read = |path: &str| std::fs::read_to_string(path);
        let tenants = file::parse(&text, &self.common, &read)
            .map_err(|mistakes| Mistakes(mistakes.into_iter().map(label).collect()))?;
        // A tenant called * is everybody else.
        let mut tenants: HashMap<_, _> =
            tenants.into_iter().map(|(tenant, it)| (tenant, Arc::new(it))).collect();
        let common = tenants.remove("*").unwrap_or_else(|| self.common.clone());
        let all = Arc::new(All { common, tenants });
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = all;
        Ok(())
    }

    pub fn of(&self, tenant: &str) -> Arc<Settings> {
        let all = self.current.read().unwrap_or_else(PoisonError::into_inner);
        all.tenants.get(tenant).unwrap_or(&all.common).clone()
    }
}

#[cfg(test)]
mod tests {
    use runtime::config::Reader;

    use super::*;

    fn common() -> Settings {
        let given: [(&str, &str); 0] = [];
        let mut reader = Reader::new(&given);
        let settings = Settings::read(&mut reader);
        reader.finish(settings).unwrap()
    }

    #[test]
    fn a_bad_new_file_is_refused_and_the_old_settings_stay() {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        std::fs::write(&path, "[[tenant]]\ntenant = 'acme'\nprovider = 'ezri'\nurl = 'http://a'")
            .unwrap();
        let registry = Registry::open(common(), Some(path.to_path_buf())).unwrap();
        assert_eq!(registry.of("acme").kind, Kind::Ezri);
        assert_eq!(registry.of("other").kind, Kind::Scripted);
        std::fs::write(&path, "[[tenant]]\ntenant = 'acme'\nprovider = 'magic'").unwrap();
        assert!(registry.reload().is_err());
        assert_eq!(registry.of("acme").url, "http://a");
        std::fs::write(&path, "[[tenant]]\ntenant = '*'\nconcurrency = 3").unwrap();
        registry.reload().unwrap();
        assert_eq!(registry.of("anybody").concurrency, 3);
    }
}

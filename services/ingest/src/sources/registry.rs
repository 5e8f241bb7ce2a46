//! The sources in force: read from the file at start and again on SIGHUP. The only part that touches files.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use runtime::config::{Mistakes, SOURCES_FILE};

use super::Sources;

/// A handle that always gives the sources in force.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    file: Option<PathBuf>,
    current: Arc<RwLock<Arc<Sources>>>,
}

impl Registry {
    /// Without a file there are no sources.
    pub fn open(file: Option<PathBuf>) -> Result<Self, Mistakes> {
        let registry = Self { file, current: Arc::default() };
        registry.reload()?;
        Ok(registry)
    }

    /// Sources that no file changes.
    pub fn fixed(sources: Sources) -> Self {
        Self { file: None, current: Arc::new(RwLock::new(Arc::new(sources))) }
    }

    pub fn current(&self) -> Arc<Sources> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the file again; when anything in it is wrong, nothing changes.
    pub fn reload(&self) -> Result<(), Mistakes> {
        let Some(file) = &self.file else { return Ok(()) };
        let sources = Arc::new(load(file)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = sources;
        Ok(())
    }
}

fn load(file: &Path) -> Result<Sources, Mistakes> {
    let label = |problem: String| format!("{}: {}: {problem}", SOURCES_FILE.name, file.display());
    let text = std::fs::read_to_string(file)
        .map_err(|error| Mistakes::one(label(format!("cannot be read: {error}"))))?;
    Sources::parse(&text, &|path| std::fs::read_to_string(path))
        .map_err(|mistakes| Mistakes(mistakes.0.into_iter().map(label).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "[[source]]\nname = 'a'\nprovider = 'elevenlabs'\ntenant = 't'\nsecrets = ['s']";

    #[test]
    fn a_bad_new_file_is_refused_and_the_old_sources_stay() {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        std::fs::write(&path, GOOD).unwrap();
        let registry = Registry::open(Some(path.to_path_buf())).unwrap();
        std::fs::write(&path, "[[source]]\nname = 'b'").unwrap();
        let mistakes = registry.reload().unwrap_err();
        assert!(mistakes.0.iter().all(|m| m.starts_with("SOURCES_FILE: ")), "{mistakes}");
        assert!(registry.current().named("a").is_some());
        std::fs::write(&path, GOOD.replace("'a'", "'b'")).unwrap();
        registry.reload().unwrap();
        assert!(registry.current().named("a").is_none() && registry.current().named("b").is_some());
    }
}

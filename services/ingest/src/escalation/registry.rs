//! The chains in force: read from the file at start and again on SIGHUP. The only part that touches files.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use domain::escalation::Chains;
use runtime::config::{ESCALATION_FILE, Mistakes};

/// A handle that always gives the chains in force.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    file: Option<PathBuf>,
    current: Arc<RwLock<Arc<Chains>>>,
}

impl Registry {
    /// Without a file the built-in chain holds for everybody.
    pub fn open(file: Option<PathBuf>) -> Result<Self, Mistakes> {
        let registry = Self { file, current: Arc::default() };
        registry.reload()?;
        Ok(registry)
    }

    pub fn current(&self) -> Arc<Chains> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the file again; when anything in it is wrong, nothing changes.
    pub fn reload(&self) -> Result<(), Mistakes> {
        let Some(file) = &self.file else { return Ok(()) };
        let chains = Arc::new(load(file)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = chains;
        Ok(())
    }
}

fn load(file: &Path) -> Result<Chains, Mistakes> {
    let label = |problem| format!("{}: {}: {problem}", ESCALATION_FILE.name, file.display());
    let text = std::fs::read_to_string(file)
        .map_err(|error| Mistakes::one(label(format!("cannot be read: {error}"))))?;
    Chains::parse(&text).map_err(|mistakes| Mistakes(mistakes.into_iter().map(label).collect()))
}

#[cfg(test)]
mod tests {
    use domain::Tenant;

    use super::*;

    const GOOD: &str =
        "[[chain]]\ntenant = '*'\nresolve_within = 60\n[[chain.tier]]\nname = 'a'\nrole = 'admin'";

    #[test]
    fn a_bad_new_file_is_refused_and_the_old_chains_stay() {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        std::fs::write(&path, GOOD).unwrap();
        let registry = Registry::open(Some(path.to_path_buf())).unwrap();
        let within = || registry.current().of(&Tenant::parse("acme").unwrap()).resolve_within;
        std::fs::write(&path, "[[chain]]\ntenant = 'a b'\nresolve_within = 1").unwrap();
        let mistakes = registry.reload().unwrap_err();
        assert!(mistakes.0.len() > 1, "{mistakes}");
        assert!(mistakes.0.iter().all(|m| m.starts_with("ESCALATION_FILE: ")), "{mistakes}");
        assert_eq!(within(), 60);
        std::fs::write(&path, GOOD.replace("60", "90")).unwrap();
        registry.reload().unwrap();
        assert_eq!(within(), 90);
    }
}

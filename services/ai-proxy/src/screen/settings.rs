//! The rules of the screen and what a person in danger is offered: the built-in ones, or an operator's folder.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use domain::safety::{RESOURCES_FILE, RuleSet};
use runtime::config::{Mistakes, SAFETY_DIR, toml_files};
use serde::Deserialize;
use serde_json::Value;

const BUILTIN: &str = include_str!("../../../../shared/safety/resources.toml");
/// Stands for every tenant without a list of its own.
const EVERYBODY: &str = "*";

/// A cheap-clone handle that always gives the rules and lists in force.
#[derive(Clone)]
pub struct Settings {
    folder: Option<PathBuf>,
    rules: Arc<RwLock<Arc<RuleSet>>>,
    builtin: Arc<[Value]>,
    offered: Offered,
}

/// What an operator's folder offers to people in danger, by tenant; nothing where it has no such file.
#[derive(Clone, Default)]
pub struct Offered(Arc<RwLock<Lists>>);

type Lists = HashMap<String, Vec<Value>>;

impl Offered {
    fn read(&self) -> RwLockReadGuard<'_, Lists> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tenant's own list, or everybody's.
    pub fn for_tenant(&self, tenant: &str) -> Option<Vec<Value>> {
        let lists = self.read();
        let own = lists.get(tenant).or_else(|| lists.get(EVERYBODY))?;
        (!own.is_empty()).then(|| own.clone())
    }

    /// The tenants that have a list of their own.
    pub fn tenants(&self) -> Vec<String> {
        self.read().keys().filter(|it| *it != EVERYBODY).cloned().collect()
    }
}

/// What a folder says, read whole before any of it is in force.
struct Found {
    rules: RuleSet,
    builtin: Vec<Value>,
    offered: Lists,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("rules", &self.rules().version()).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    resources: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    tenant: String,
    items: Vec<Value>,
}

impl Settings {
    /// The built-in rules and resources, with those of an operator's folder on top; every mistake in it is told.
    pub fn open(folder: Option<&Path>) -> Result<Self, Mistakes> {
        let Found { rules, builtin, offered } = Found::read(folder)?;
        Ok(Self {
            folder: folder.map(Path::to_owned),
            rules: Arc::new(RwLock::new(Arc::new(rules))),
            builtin: builtin.into(),
            offered: Offered(Arc::new(RwLock::new(offered))),
        })
    }

    /// Reads the folder again; when anything in it is wrong, nothing changes.
    pub fn reload(&self) -> Result<(), Mistakes> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let Found { rules, offered, .. } = Found::read(Some(folder))?;
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        *self.offered.0.write().unwrap_or_else(PoisonError::into_inner) = offered;
        Ok(())
    }

    pub(super) fn rules(&self) -> Arc<RuleSet> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What an operator has written.
    pub fn offered(&self) -> Offered {
        self.offered.clone()
    }

    /// What is offered where no operator has written anything.
    pub(super) fn builtin(&self) -> &[Value] {
        &self.builtin
    }
}

impl Found {
    fn read(folder: Option<&Path>) -> Result<Self, Mistakes> {
        let told = |problem: String| format!("{}: {problem}", SAFETY_DIR.name);
        let files = folder.map(toml_files).transpose();
        let files =
            files.map_err(|error| Mistakes::one(told(format!("cannot be read: {error}"))))?;
        Self::from_files(files.unwrap_or_default())
            .map_err(|mistakes| Mistakes(mistakes.into_iter().map(told).collect()))
    }

    fn from_files(files: Vec<(String, String)>) -> Result<Self, Vec<String>> {
        let (own, rules): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|(name, _)| name == RESOURCES_FILE);
        let mut mistakes = Vec::new();
        let mut read = |text: &str| resources(text).map_err(|it| mistakes.push(it)).ok();
        let offered = own.first().map_or(Some(Lists::new()), |(_, text)| read(text));
        let builtin = read(BUILTIN).and_then(|mut all| all.remove(EVERYBODY));
        let rules = RuleSet::load(&rules)
            .map_err(|wrong| mistakes.extend(wrong.iter().map(ToString::to_string)))
            .ok();
        match (rules, offered) {
            (Some(rules), Some(offered)) => {
                Ok(Self { rules, builtin: builtin.unwrap_or_default(), offered })
            }
            _ => Err(mistakes),
        }
    }
}

fn resources(text: &str) -> Result<HashMap<String, Vec<Value>>, String> {
    let file: File = toml::from_str(text).map_err(|error| format!("{RESOURCES_FILE}: {error}"))?;
    let fits = |value: &Value| value.is_string() || value.is_object();
    if file.resources.iter().any(|entry| !entry.items.iter().all(fits)) {
        return Err(format!("{RESOURCES_FILE}: an item is a text or a table"));
    }
    Ok(file.resources.into_iter().map(|entry| (entry.tenant, entry.items)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    /// A rule file that finds one word.
    fn rule(version: u32, word: &str) -> String {
        format!(
            "language = \"x\"\nversion = {version}\n[[rule]]\nsignal = \"code\"\n\
             severity = \"high\"\npatterns = [\"{word}\"]"
        )
    }

    #[test]
    fn everybody_is_offered_something() {
        let settings = Settings::open(None).unwrap();
        assert!(!settings.builtin().is_empty());
        assert_eq!(settings.offered().for_tenant("acme"), None);
    }

    #[test]
    fn a_tenants_own_list_wins() {
        let text = "[[resources]]\ntenant = \"*\"\nitems = [\"a\"]\n\
                    [[resources]]\ntenant = \"acme\"\nitems = [{ phone = \"1\" }]";
        let folder = folder(&[(RESOURCES_FILE, text)]);
        let offered = Settings::open(Some(folder.path())).unwrap().offered();
        assert_eq!(offered.for_tenant("acme").unwrap()[0]["phone"], "1");
        assert_eq!(offered.for_tenant("other").unwrap()[0], "a");
    }

    #[test]
    fn mistakes_in_rules_and_resources_are_told_together() {
        let folder =
            folder(&[(RESOURCES_FILE, "[[resources]]\ntenant = 1"), ("en.toml", "rules = 1")]);
        let Mistakes(mistakes) = Settings::open(Some(folder.path())).unwrap_err();
        assert!(mistakes.iter().any(|m| m.contains(RESOURCES_FILE)), "{mistakes:?}");
        assert!(mistakes.iter().any(|m| m.contains("en.toml")), "{mistakes:?}");
    }

    #[test]
    fn a_bad_new_file_is_refused_and_the_old_rules_and_resources_stay() {
        let folder = folder(&[("x.toml", &rule(1, "marmalade"))]);
        let settings = Settings::open(Some(folder.path())).unwrap();
        let finds = |word: &str| settings.rules().screen(word).is_some();
        assert!(finds("marmalade") && !finds("chutney"));

        let resources = folder.path().join(RESOURCES_FILE);
        std::fs::write(folder.path().join("x.toml"), rule(2, "chutney")).unwrap();
        std::fs::write(&resources, "[[resources]]\ntenant = 1").unwrap();
        assert!(settings.reload().is_err());
        assert!(finds("marmalade") && !finds("chutney"));

        std::fs::write(&resources, "[[resources]]\ntenant = \"*\"\nitems = [\"a\"]").unwrap();
        let offered = settings.offered();
        settings.reload().unwrap();
        assert!(finds("chutney") && !finds("marmalade"));
        assert_eq!(offered.for_tenant("acme").unwrap(), ["a"]);
    }
}

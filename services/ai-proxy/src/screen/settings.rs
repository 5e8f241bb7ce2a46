//! The rules of the screen and what a person in danger is offered: the built-in ones, or an operator's folder.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use domain::safety::{RESOURCES_FILE, RuleSet};
use runtime::config::{Mistakes, SAFETY_DIR, toml_files};
use serde::Deserialize;
use serde_json::Value;

const BUILTIN: &str = include_str!("../../../../shared/safety/resources.toml");
/// Stands for every tenant without a list of its own.
const EVERYBODY: &str = "*";

#[derive(Clone)]
pub struct Settings {
    pub(super) rules: Arc<RuleSet>,
    builtin: Arc<[Value]>,
    offered: Offered,
}

/// What an operator's folder offers to people in danger, by tenant; nothing where it has no such file.
#[derive(Clone, Default)]
pub struct Offered(Arc<HashMap<String, Vec<Value>>>);

impl Offered {
    /// The tenant's own list, or everybody's.
    pub fn for_tenant(&self, tenant: &str) -> Option<&[Value]> {
        let own = self.0.get(tenant).or_else(|| self.0.get(EVERYBODY))?;
        (!own.is_empty()).then_some(own.as_slice())
    }

    /// The tenants that have a list of their own.
    pub fn tenants(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str).filter(|it| *it != EVERYBODY)
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("rules", &self.rules.version()).finish_non_exhaustive()
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
        let offered = own.first().map_or(Some(HashMap::new()), |(_, text)| read(text));
        let builtin = read(BUILTIN).and_then(|mut all| all.remove(EVERYBODY));
        let rules = RuleSet::load(&rules)
            .map_err(|wrong| mistakes.extend(wrong.iter().map(ToString::to_string)))
            .ok();
        match (rules, offered) {
            (Some(rules), Some(offered)) => Ok(Self {
                rules: Arc::new(rules),
                builtin: builtin.unwrap_or_default().into(),
                offered: Offered(Arc::new(offered)),
            }),
            _ => Err(mistakes),
        }
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

    fn file(name: &str, text: &str) -> (String, String) {
        (name.to_owned(), text.to_owned())
    }

    #[test]
    fn everybody_is_offered_something() {
        let settings = Settings::from_files(Vec::new()).unwrap();
        assert!(!settings.builtin().is_empty());
        assert_eq!(settings.offered().for_tenant("acme"), None);
    }

    #[test]
    fn a_tenants_own_list_wins() {
        let text = "[[resources]]\ntenant = \"*\"\nitems = [\"a\"]\n\
                    [[resources]]\ntenant = \"acme\"\nitems = [{ phone = \"1\" }]";
        let settings = Settings::from_files(vec![file(RESOURCES_FILE, text)]).unwrap();
        let offered = settings.offered();
        assert_eq!(offered.for_tenant("acme").unwrap()[0]["phone"], "1");
        assert_eq!(offered.for_tenant("other").unwrap()[0], "a");
    }

    #[test]
    fn mistakes_in_rules_and_resources_are_told_together() {
        let files =
            vec![file(RESOURCES_FILE, "[[resources]]\ntenant = 1"), file("en.toml", "rules = 1")];
        let mistakes = Settings::from_files(files).unwrap_err();
        assert!(mistakes.iter().any(|m| m.starts_with(RESOURCES_FILE)), "{mistakes:?}");
        assert!(mistakes.iter().any(|m| m.starts_with("en.toml")), "{mistakes:?}");
    }
}

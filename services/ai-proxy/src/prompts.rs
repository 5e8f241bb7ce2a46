//! Prompt templates: the embedded ones, an operator's folder over them, and folders of single tenants over that.
//! Read whole, with every mistake at once. They must not know which AI service is asked.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use runtime::config::{AI_TEMPLATES_DIR, Mistakes};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::screen::Offered;

const SYSTEM: &str = include_str!("../templates/system.md");
const CRISIS: &str = include_str!("../templates/crisis.md");
const RESOURCES: &str = include_str!("../templates/resources.toml");
const SETTINGS: &str = include_str!("../templates/settings.toml");

const MAX_RESOURCES: usize = 64;
/// Whom everybody's list is for, in the files of the screen.
const EVERYBODY: &str = "*";
const HOLE: &str = "{{resources}}";

/// What goes to the AI beside a message, for one tenant.
#[derive(Clone, PartialEq, Debug)]
pub struct Prompt {
    /// With the resources filled in.
    pub system: String,
    /// What is said when the AI reports a crisis and says nothing else.
    pub crisis: String,
    /// What a person in distress is offered: texts or described contacts.
    pub resources: Vec<Value>,
    /// Whether an operator has written them, for the AI.
    pub own_resources: bool,
    pub history: Window,
}

/// How much of what was said before goes along.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    pub history_turns: usize,
    pub history_characters: usize,
}

/// The texts as they are written, before one is put over another.
#[derive(Clone)]
struct Layer {
    system: String,
    crisis: String,
    /// `None` for what is offered elsewhere, or built in.
    resources: Option<String>,
    settings: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResourcesFile {
    #[serde(default)]
    resource: Vec<toml::Value>,
}

struct Prompts {
    common: Arc<Prompt>,
    tenants: HashMap<String, Arc<Prompt>>,
}

/// A cheap-clone handle that always gives the templates in force.
#[derive(Clone)]
pub struct Templates {
    folder: Option<PathBuf>,
    /// What the screen offers, where the templates say nothing about it.
    offered: Offered,
    current: Arc<RwLock<Arc<Prompts>>>,
}

impl Templates {
    pub fn open(folder: Option<PathBuf>, offered: Offered) -> Result<Self, Mistakes> {
        let prompts = Arc::new(load(folder.as_deref(), &offered)?);
        Ok(Self { folder, offered, current: Arc::new(RwLock::new(prompts)) })
    }

    /// Reads the folder again; when anything in it is wrong, nothing changes.
    pub fn reload(&self) -> Result<(), Mistakes> {
        let prompts = Arc::new(load(self.folder.as_deref(), &self.offered)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = prompts;
        Ok(())
    }

    pub fn of(&self, tenant: &str) -> Arc<Prompt> {
        let prompts = self.current.read().unwrap_or_else(PoisonError::into_inner);
        prompts.tenants.get(tenant).unwrap_or(&prompts.common).clone()
    }
}

fn load(folder: Option<&Path>, offered: &Offered) -> Result<Prompts, Mistakes> {
    let mut mistakes = Vec::new();
    let mut layer = Layer {
        system: SYSTEM.to_owned(),
        crisis: CRISIS.to_owned(),
        resources: None,
        settings: SETTINGS.to_owned(),
    };
    let mut tenants = HashMap::new();
    let mut folders = Vec::new();
    if let Some(folder) = folder {
        layer = layer.under(folder, &mut mistakes);
        folders = tenant_folders(folder, &mut mistakes);
    }
    // A tenant that the screen has a list for gets a prompt of its own with it.
    for tenant in offered.tenants() {
        let prompt = layer.prompt(&tenant, offered.for_tenant(&tenant), &mut mistakes);
        tenants.extend(prompt.map(|it| (tenant, Arc::new(it))));
    }
    for (tenant, folder) in folders {
        let own = layer.clone().under(&folder, &mut mistakes);
        let prompt = own.prompt(&tenant, offered.for_tenant(&tenant), &mut mistakes);
        tenants.extend(prompt.map(|it| (tenant, Arc::new(it))));
    }
    let common = layer.prompt("the templates", offered.for_tenant(EVERYBODY), &mut mistakes);
    match common {
        Some(common) if mistakes.is_empty() => Ok(Prompts { common: Arc::new(common), tenants }),
        _ => Err(Mistakes(
            mistakes.into_iter().map(|it| format!("{}: {it}", AI_TEMPLATES_DIR.name)).collect(),
        )),
    }
}

impl Layer {
    /// This with what a folder has over it.
    fn under(mut self, folder: &Path, mistakes: &mut Vec<String>) -> Self {
        let mut read = |name: &str| {
            let path = folder.join(name);
            match std::fs::read_to_string(&path) {
                Ok(own) => return Some(own),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => mistakes.push(format!("{} cannot be read: {error}", path.display())),
            }
            None
        };
        for (name, text) in [
            ("system.md", &mut self.system),
            ("crisis.md", &mut self.crisis),
            ("settings.toml", &mut self.settings),
        ] {
            if let Some(own) = read(name) {
                *text = own;
            }
        }
        self.resources = read("resources.toml").or(self.resources);
        self
    }

    fn prompt(
        &self,
        place: &str,
        offered: Option<Vec<Value>>,
        mistakes: &mut Vec<String>,
    ) -> Option<Prompt> {
        let mut wrong = |file: &str, problem: &str| {
            mistakes.push(format!("{place}: {file}: {problem}"));
        };
        let own = self.resources.as_deref().map(resources).transpose();
        // An empty list would be no help at all.
        let own = own.map(|own| own.filter(|own| !own.is_empty()));
        let own = own.map_err(|problem| wrong("resources.toml", &problem)).ok();
        let history = toml::from_str::<Window>(&self.settings)
            .map_err(|error| wrong("settings.toml", error.message()))
            .ok();
        if self.system.trim().is_empty() {
            wrong("system.md", "is empty");
        }
        let (own, history) = (own?, history?);
        let own_resources = own.is_some();
        let resources = own.or(offered);
        let resources = resources.or_else(|| self::resources(RESOURCES).ok()).unwrap_or_default();
        let listed = resources.iter().map(line).collect::<Vec<_>>().join("\n");
        let filled = |text: &str| text.replace(HOLE, &listed).trim().to_owned();
        Some(Prompt {
            system: filled(&self.system),
            crisis: filled(&self.crisis),
            resources,
            own_resources,
            history,
        })
    }
}

fn resources(text: &str) -> Result<Vec<Value>, String> {
    let file: ResourcesFile = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    if file.resource.len() > MAX_RESOURCES {
        return Err("holds more than 64 resources".to_owned());
    }
    if file.resource.iter().any(|it| !(it.is_str() || it.is_table())) {
        return Err("a resource is a text, or a table with name, contact, url".to_owned());
    }
    Ok(file.resource.iter().map(|it| json!(it)).collect())
}

/// The folders in the folder, each named like its tenant.
fn tenant_folders(folder: &Path, mistakes: &mut Vec<String>) -> Vec<(String, PathBuf)> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            mistakes.push(format!("{} cannot be read: {error}", folder.display()));
            return Vec::new();
        }
    };
    let paths = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
    let mut named: Vec<_> = paths.filter_map(|path| Some((name(&path)?, path))).collect();
    named.sort_unstable();
    named
}

/// A resource as a line of text.
fn line(resource: &Value) -> String {
    let Some(fields) = resource.as_object() else {
        return format!("- {}", resource.as_str().unwrap_or_default());
    };
    let parts: Vec<_> =
        ["name", "contact", "url"].iter().filter_map(|it| fields.get(*it)?.as_str()).collect();
    format!("- {}", parts.join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_templates_name_the_resources() {
        let templates = Templates::open(None, Offered::default()).unwrap();
        let prompt = templates.of("acme");
        assert!(prompt.system.contains("988"), "{}", prompt.system);
        assert!(!prompt.system.contains("{{"), "{}", prompt.system);
        assert!(prompt.crisis.contains("988") && prompt.resources.len() == 3);
        assert_eq!(prompt.history.history_turns, 20);
    }

    #[test]
    fn a_tenants_folder_lies_over_the_operators_and_that_over_the_built_in() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("acme");
        std::fs::create_dir(&own).unwrap();
        std::fs::write(folder.path().join("system.md"), "Common. {{resources}}").unwrap();
        std::fs::write(own.join("resources.toml"), "resource = ['Call Ann']").unwrap();
        let templates =
            Templates::open(Some(folder.path().to_owned()), Offered::default()).unwrap();
        assert_eq!(templates.of("acme").system, "Common. - Call Ann");
        assert!(templates.of("other").system.contains("988"));
    }

    #[test]
    fn every_mistake_is_told_and_a_bad_folder_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let templates =
            Templates::open(Some(folder.path().to_owned()), Offered::default()).unwrap();
        std::fs::write(folder.path().join("resources.toml"), "resource = 5").unwrap();
        std::fs::write(folder.path().join("settings.toml"), "history_turns = 'many'").unwrap();
        let Mistakes(told) = templates.reload().unwrap_err();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told.iter().all(|it| it.starts_with("AI_TEMPLATES_DIR: ")), "{told:?}");
        assert!(templates.of("acme").system.contains("988"));
    }
}

//! Reading one `[[application]]` key by key. No message shows a value that may be a secret.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use domain::identity::Role;
use http::Uri;
use toml::{Table, Value};

use crate::auth::applications::KeySource;
use crate::auth::keys::KeyMaker;
use crate::config::Secret;

/// One entry, emptied key by key; what is left at the end is not known.
pub(super) struct Entry<'a> {
    label: String,
    table: Table,
    folder: Option<&'a Path>,
    mistakes: &'a mut Vec<String>,
}

impl<'a> Entry<'a> {
    pub(super) fn new(
        index: usize,
        entry: Value,
        folder: Option<&'a Path>,
        mistakes: &'a mut Vec<String>,
    ) -> Self {
        let table = entry.try_into::<Table>().unwrap_or_default();
        let label = match table.get("name").and_then(Value::as_str) {
            Some(name) => format!("application {name:?}"),
            None => format!("application number {}", index + 1),
        };
        Self { label, table, folder, mistakes }
    }

    pub(super) fn mistake(&mut self, key: &str, text: impl Display) {
        self.mistakes.push(format!("APPLICATIONS_FILE: {}: {key}: {text}", self.label));
    }

    pub(super) fn leftovers(mut self) {
        let names: Vec<_> =
            std::mem::take(&mut self.table).into_iter().map(|(key, _)| key).collect();
        for name in names {
            self.mistake(&name, "is not a key of an application");
        }
    }

    /// Whether there is a value that is not an empty text.
    pub(super) fn is_given(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(|value| value.as_str() != Some(""))
    }

    /// A text; an empty one counts as not given.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        match self.table.remove(key)? {
            Value::String(text) => Some(text).filter(|text| !text.is_empty()),
            _ => {
                self.mistake(key, "must be a text in quotes");
                None
            }
        }
    }

    pub(super) fn required(&mut self, key: &str, example: &str) -> Option<String> {
        let given = self.table.contains_key(key);
        let text = self.text(key);
        if text.is_none() && !given {
            self.mistake(key, format_args!("missing, for example {example:?}"));
        }
        text
    }

    pub(super) fn role(&mut self, key: &str) -> Option<Role> {
        let name = self.text(key)?;
        let role = Role::parse(&name);
        if role.is_none() {
            self.mistake(key, not_a_role(&name));
        }
        role
    }

    pub(super) fn roles(&mut self) -> BTreeMap<String, Role> {
        let table = match self.table.remove("roles") {
            None => return BTreeMap::new(),
            Some(Value::Table(table)) => table,
            Some(_) => {
                self.mistake("roles", r#"must be a table such as { super = "admin" }"#);
                return BTreeMap::new();
            }
        };
        let mut roles = BTreeMap::new();
        for (name, value) in table {
            match value.as_str().and_then(Role::parse) {
                Some(role) => drop(roles.insert(name, role)),
                None => self.mistake(
                    &format!("roles.{name}"),
                    not_a_role(value.as_str().unwrap_or_default()),
                ),
            }
        }
        roles
    }

    pub(super) fn origins(&mut self) -> Vec<String> {
        let list = match self.table.remove("origins") {
            None => return Vec::new(),
            Some(Value::Array(list)) => list,
            Some(_) => {
                self.mistake("origins", r#"must be a list such as ["https://app.example.com"]"#);
                return Vec::new();
            }
        };
        let mut origins = Vec::new();
        for value in list {
            let text = value.as_str().unwrap_or_default();
            match origin(text) {
                Some(origin) => origins.push(origin),
                None => self.mistake("origins", not_an_origin(text)),
            }
        }
        origins
    }

    pub(super) fn address(&mut self, key: &str) -> Option<Uri> {
        let text = self.text(key)?;
        let found = address(&text);
        if found.is_none() {
            self.mistake(key, not_an_address(&text));
        }
        found
    }

    pub(super) fn key(&mut self) -> Option<KeySource> {
        let form = r#"must be one of { secret = "…" }, { secret_file = "…" }, { public_key_file = "…" } and { jwks_url = "…" }"#;
        let value = self.table.remove("key")?;
        let table = value.as_table().filter(|table| table.len() == 1);
        let Some((kind, text)) =
            table.and_then(|table| table.iter().next()).and_then(|(k, v)| Some((k, v.as_str()?)))
        else {
            self.mistake("key", form);
            return None;
        };
        let source = match kind.as_str() {
            "secret" if !text.is_empty() => Ok(KeySource::Secret(Secret::new(text))),
            "secret" => Err("is empty; put the secret into it".to_owned()),
            "secret_file" => secret_file(&self.path(text)),
            "public_key_file" => public_key(&self.path(text)),
            "jwks_url" => address(text).map(KeySource::Jwks).ok_or_else(|| not_an_address(text)),
            _ => Err(form.to_owned()),
        };
        source.map_err(|text| self.mistake("key", text)).ok()
    }

    /// Files are named relative to the file that names them.
    fn path(&self, text: &str) -> PathBuf {
        self.folder.map_or_else(|| PathBuf::from(text), |folder| folder.join(text))
    }
}

fn secret_file(path: &Path) -> Result<KeySource, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(format!("{} is empty; put the secret into it", path.display())),
        secret => Ok(KeySource::Secret(Secret::new(secret))),
    }
}

pub(super) fn public_key(path: &Path) -> Result<KeySource, String> {
    let pem = std::fs::read(path)
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    if KeyMaker::default().public(&pem).is_none() {
        let path = path.display();
        return Err(format!("{path} is not a public key in PEM (RSA, EC P-256 or P-384, Ed25519)"));
    }
    Ok(KeySource::Public(pem))
}

/// `scheme://host[:port]` and nothing else, as browsers send it.
pub(super) fn origin(text: &str) -> Option<String> {
    let text = text.trim_end_matches('/');
    let (scheme, host) = text.split_once("://")?;
    let valid = !scheme.is_empty()
        && !host.is_empty()
        && !host.contains(['/', '?', '#', '*', '@', ' '])
        && text.bytes().all(|b| b.is_ascii_graphic());
    valid.then(|| text.to_ascii_lowercase())
}

pub(super) fn not_an_origin(text: &str) -> String {
    format!("{text:?} is not an origin such as https://app.example.com, without path or wildcard")
}

pub(super) fn address(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    (matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()).then_some(uri)
}

pub(super) fn not_an_address(text: &str) -> String {
    format!("{text:?} is not an http or https address")
}

fn not_a_role(name: &str) -> String {
    format!("{name:?} is not one of guest, user, agent, admin and service")
}

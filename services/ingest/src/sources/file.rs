//! The TOML of `SOURCES_FILE` read key by key, so that every mistake is told with its place.

use std::collections::HashMap;
use std::fmt::Display;

use domain::signatures::standard_webhooks::Key;
use domain::token::{Tenant, Token};
use runtime::config::Secret;
use toml::{Table, Value};

use super::{Network, Provider, Source};

const KEYS: [&str; 11] = [
    "name",
    "provider",
    "tenant",
    "secrets",
    "secrets_files",
    "public_url",
    "verify_token",
    "accounts",
    "owner",
    "default",
    "allow_from",
];

type ReadFile<'a> = &'a dyn Fn(&str) -> std::io::Result<String>;

/// What could be read, and everything that is wrong.
pub(super) fn parse(text: &str, read: ReadFile<'_>) -> (Vec<Source>, Vec<String>) {
    let mut table = match text.parse::<Table>() {
        Ok(table) => table,
        // The parser's own message quotes the line, which may hold a secret.
        Err(error) => return (Vec::new(), vec![format!("is not TOML: {}", place(text, &error))]),
    };
    let mut mistakes = Vec::new();
    let entries = match table.remove("source") {
        None => Vec::new(),
        Some(Value::Array(entries)) => entries,
        Some(_) => {
            mistakes.push("source: write [[source]] for each one".to_owned());
            Vec::new()
        }
    };
    mistakes
        .extend(table.keys().map(|key| format!("{key}: is not known; there is only [[source]]")));
    let mut sources = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let mut entry = Entry::new(entry, index, &mut mistakes);
        sources.extend(entry.source(read));
    }
    (sources, mistakes)
}

fn place(text: &str, error: &toml::de::Error) -> String {
    let line =
        error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    match line {
        Some(line) => format!("line {line}: {}", error.message()),
        None => error.message().to_owned(),
    }
}

/// One `[[source]]`, emptied key by key.
struct Entry<'a> {
    label: String,
    table: Table,
    mistakes: &'a mut Vec<String>,
}

impl<'a> Entry<'a> {
    fn new(entry: Value, index: usize, mistakes: &'a mut Vec<String>) -> Self {
        let table = entry.try_into::<Table>().unwrap_or_default();
        let label = match table.get("name").and_then(Value::as_str) {
            Some(name) => format!("source {name:?}"),
            None => format!("source number {}", index + 1),
        };
        Self { label, table, mistakes }
    }

    fn mistake(&mut self, key: &str, problem: impl Display) {
        self.mistakes.push(format!("{}: {key}: {problem}", self.label));
    }

    fn source(&mut self, read: ReadFile<'_>) -> Option<Source> {
        let unknown: Vec<_> =
            self.table.keys().filter(|key| !KEYS.contains(&key.as_str())).cloned().collect();
        for key in unknown {
            self.mistake(&key, "is not known");
        }
        let name = self.required("name", |text| Token::parse(text).map_err(|e| e.to_string()));
        let provider = self.required("provider", provider);
        let tenant = self.required("tenant", |text| Tenant::parse(text).map_err(|e| e.to_string()));
        let secrets = self.secrets(read);
        let public_url = self.text("public_url").unwrap_or_default();
        let public_url = public_url.trim_end_matches('/').to_owned();
        let source = Source {
            name: name?,
            provider: provider?,
            tenant: tenant?,
            secrets,
            public_url,
            verify_token: self.text("verify_token").map(Secret::new),
            accounts: self.accounts(),
            owner: self.text("owner"),
            default: self.flag("default"),
            allow_from: self.networks(),
        };
        self.check(&source);
        Some(source)
    }

    /// What a provider needs or cannot use.
    fn check(&mut self, source: &Source) {
        let provider = source.provider.name();
        let is = |provider| source.provider == provider;
        let open = is(Provider::CallerDesk) && !source.allow_from.is_empty();
        if source.secrets.is_empty() && !open {
            let problem = match source.provider {
                Provider::CallerDesk => "is missing; without secrets give allow_from",
                _ => "is missing; give secrets or secrets_files",
            };
            self.mistake("secrets", problem);
        }
        if is(Provider::Twilio) && !is_origin(&source.public_url) {
            let example = "https://hooks.example.com";
            self.mistake("public_url", format_args!("must be the origin Twilio calls: {example}"));
        }
        if is(Provider::Standard) {
            let keys = source.secrets.iter().map(|secret| Key::parse(secret.expose()));
            if let Some(error) = keys.filter_map(Result::err).next() {
                self.mistake("secrets", format_args!("one of them {error}"));
            }
        }
        let misplaced = [
            ("public_url", !is(Provider::Twilio) && !source.public_url.is_empty()),
            ("verify_token", !is(Provider::WhatsApp) && source.verify_token.is_some()),
            ("accounts", !is(Provider::WhatsApp) && !source.accounts.is_empty()),
            ("allow_from", !is(Provider::CallerDesk) && !source.allow_from.is_empty()),
        ];
        for (key, _) in misplaced.iter().filter(|(_, wrong)| *wrong) {
            self.mistake(key, format_args!("means nothing for {provider}"));
        }
    }

    fn required<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        if !self.table.contains_key(key) {
            self.mistake(key, "is missing");
        }
        let text = self.text(key)?;
        parse(&text).map_err(|problem| self.mistake(key, format_args!("{text:?} {problem}"))).ok()
    }

    fn text(&mut self, key: &str) -> Option<String> {
        match self.table.remove(key)? {
            Value::String(text) if !text.trim().is_empty() => Some(text),
            _ => {
                self.mistake(key, "must be a text that is not empty");
                None
            }
        }
    }

    fn flag(&mut self, key: &str) -> bool {
        match self.table.remove(key) {
            None => false,
            Some(Value::Boolean(flag)) => flag,
            Some(_) => {
                self.mistake(key, "must be true or false");
                false
            }
        }
    }

    fn texts(&mut self, key: &str) -> Vec<String> {
        let Some(value) = self.table.remove(key) else { return Vec::new() };
        let texts = value.try_into::<Vec<String>>().ok();
        match texts.filter(|all| all.iter().all(|text| !text.trim().is_empty())) {
            Some(texts) => texts,
            None => {
                self.mistake(key, "must be a list of texts that are not empty");
                Vec::new()
            }
        }
    }

    fn secrets(&mut self, read: ReadFile<'_>) -> Vec<Secret> {
        let mut secrets: Vec<_> = self.texts("secrets").into_iter().map(Secret::new).collect();
        for path in self.texts("secrets_files") {
            match read(&path) {
                Ok(text) if !text.trim().is_empty() => {
                    secrets.push(Secret::new(text.trim_end_matches(['\r', '\n'])));
                }
                Ok(_) => self.mistake("secrets_files", format_args!("{path} is empty")),
                Err(error) => {
                    self.mistake("secrets_files", format_args!("{path} cannot be read: {error}"));
                }
            }
        }
        secrets
    }

    fn accounts(&mut self) -> HashMap<String, String> {
        let Some(value) = self.table.remove("accounts") else { return HashMap::new() };
        value.try_into().unwrap_or_else(|_| {
            self.mistake("accounts", "must be a table of texts: { \"1055\" = \"account-7\" }");
            HashMap::new()
        })
    }

    fn networks(&mut self) -> Vec<Network> {
        let mut networks = Vec::new();
        for text in self.texts("allow_from") {
            match text.parse() {
                Ok(network) => networks.push(network),
                Err(error) => self.mistake("allow_from", format_args!("{text:?} {error}")),
            }
        }
        networks
    }
}

fn provider(name: &str) -> Result<Provider, String> {
    let names = Provider::ALL.map(Provider::name).join(", ");
    Provider::parse(name).ok_or_else(|| format!("is not one of {names}"))
}

fn is_origin(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|host| !host.is_empty() && !host.contains(['?', '#', ' ']))
}

//! The TOML of `AI_FILE` read key by key, so that every mistake is told with its place and no secret is shown.

use std::collections::HashMap;
use std::fmt::Display;
use std::time::Duration;

use domain::token::Tenant;
use runtime::config::Secret;
use toml::{Table, Value};

use super::{Kind, Price, Settings};
use crate::providers::Endpoint;

/// What a `[[tenant]]` may hold.
const KEYS: [&str; 18] = [
    "tenant",
    "provider",
    "url",
    "key",
    "key_file",
    "model",
    "transcription_model",
    "speech_model",
    "voice",
    "crisis_tool",
    "timeout_ms",
    "idle_timeout_ms",
    "total_timeout_ms",
    "concurrency",
    "tokens_per_hour",
    "price",
    "keep_audio_hours",
    "connect_timeout_ms",
];

/// The hours after which the object store forgets by itself.
const LONGEST_KEPT: u64 = 720;

type ReadFile<'a> = &'a dyn Fn(&str) -> std::io::Result<String>;

/// The settings of the tenants named, each beginning with `common`; or everything that is wrong.
pub(super) fn parse(
    text: &str,
    common: &Settings,
    read: ReadFile<'_>,
) -> Result<HashMap<String, Settings>, Vec<String>> {
    let mut table = match text.parse::<Table>() {
        Ok(table) => table,
        // The parser's own rendering quotes the line, which may hold a key.
        Err(error) => return Err(vec![format!("is not TOML: {}", error.message())]),
    };
    let mut mistakes = Vec::new();
    let entries = match table.remove("tenant") {
        None => Vec::new(),
        Some(Value::Array(entries)) => entries,
        Some(_) => {
            mistakes.push("tenant: write [[tenant]] for each one".to_owned());
            Vec::new()
        }
    };
    mistakes
        .extend(table.keys().map(|key| format!("{key}: is not known; there is only [[tenant]]")));
    let mut tenants = HashMap::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let mut entry = Entry::new(entry, index, &mut mistakes);
        let tenant = entry.tenant();
        let settings = entry.settings(common, read);
        if tenants.insert(tenant, settings).is_some() {
            entry.mistake("tenant", "is named twice");
        }
    }
    if mistakes.is_empty() { Ok(tenants) } else { Err(mistakes) }
}

/// One `[[tenant]]`, emptied key by key.
struct Entry<'a> {
    label: String,
    table: Table,
    mistakes: &'a mut Vec<String>,
}

impl<'a> Entry<'a> {
    fn new(entry: Value, index: usize, mistakes: &'a mut Vec<String>) -> Self {
        let table = entry.try_into::<Table>().unwrap_or_default();
        let label = match table.get("tenant").and_then(Value::as_str) {
            Some(name) => format!("tenant {name:?}"),
            None => format!("tenant number {}", index + 1),
        };
        Self { label, table, mistakes }
    }

    fn mistake(&mut self, key: &str, problem: impl Display) {
        self.mistakes.push(format!("{}: {key}: {problem}", self.label));
    }

    fn tenant(&mut self) -> String {
        let unknown: Vec<_> =
            self.table.keys().filter(|key| !KEYS.contains(&key.as_str())).cloned().collect();
        for key in unknown {
            self.mistake(&key, "is not known");
        }
        let name = self.text("tenant").unwrap_or_default();
        if name != "*" && Tenant::parse(&name).is_err() {
            self.mistake("tenant", "must be a tenant, or * for everybody else");
        }
        name
    }

    fn settings(&mut self, common: &Settings, read: ReadFile<'_>) -> Settings {
        let mut settings = common.clone();
        if let Some(name) = self.text("provider") {
            match Kind::NAMES.iter().find(|(known, _)| *known == name) {
                Some((_, kind)) => settings.kind = *kind,
                None => self.mistake("provider", "is none of scripted, ezri, openai"),
            }
        }
        if let Some(url) = self.text("url") {
            if url != settings.url {
                // A key is meant for its own address and goes to no other.
                settings.key = None;
            }
            settings.url = url;
        }
        settings.key = self.key(read).or(settings.key);
        self.models(&mut settings);
        for (name, duration) in [
            ("connect_timeout_ms", &mut settings.deadlines.connect),
            ("timeout_ms", &mut settings.deadlines.first),
            ("idle_timeout_ms", &mut settings.deadlines.idle),
            ("total_timeout_ms", &mut settings.deadlines.total),
        ] {
            *duration = self.count(name, 1).map_or(*duration, Duration::from_millis);
        }
        let concurrency = self.count("concurrency", 1).and_then(|it| usize::try_from(it).ok());
        settings.concurrency = concurrency.unwrap_or(settings.concurrency);
        settings.tokens_per_hour =
            self.count("tokens_per_hour", 0).unwrap_or(settings.tokens_per_hour);
        settings.price = self.price().or(settings.price);
        let hours = self.count("keep_audio_hours", 1);
        if hours.is_some_and(|hours| hours > LONGEST_KEPT) {
            self.mistake(
                "keep_audio_hours",
                "must be 720 or less: the store forgets after thirty days",
            );
        }
        settings.keep_audio =
            hours.map(|it| Duration::from_secs(it.saturating_mul(3600))).or(settings.keep_audio);
        self.check(&settings);
        settings
    }

    /// What a provider needs.
    fn check(&mut self, settings: &Settings) {
        if settings.kind != Kind::Scripted && !Endpoint::is_base(&settings.url) {
            self.mistake("url", "must be an http or https address without a query");
        }
        if settings.kind == Kind::OpenAi && settings.models.chat.is_none() {
            self.mistake("model", "is missing; openai needs one");
        }
    }

    fn models(&mut self, settings: &mut Settings) {
        let models = &mut settings.models;
        for (name, model) in [
            ("model", &mut models.chat),
            ("transcription_model", &mut models.transcription),
            ("speech_model", &mut models.speech),
            ("voice", &mut models.voice),
        ] {
            *model = self.text(name).or(model.take());
        }
        match self.table.remove("crisis_tool") {
            None => {}
            Some(Value::Boolean(flag)) => models.crisis_tool = flag,
            Some(_) => self.mistake("crisis_tool", "must be true or false"),
        }
    }

    fn key(&mut self, read: ReadFile<'_>) -> Option<Secret> {
        match (self.text("key"), self.text("key_file")) {
            (Some(_), Some(_)) => {
                self.mistake("key", "is given twice, here and in key_file; keep one");
                None
            }
            (Some(key), None) => Some(Secret::new(key)),
            (None, Some(path)) => match read(&path) {
                Ok(text) => Some(Secret::new(text.trim())),
                Err(error) => {
                    self.mistake("key_file", format_args!("{path} cannot be read: {error}"));
                    None
                }
            },
            (None, None) => None,
        }
    }

    fn price(&mut self) -> Option<Price> {
        let mut table = match self.table.remove("price")? {
            Value::Table(table) => table,
            _ => {
                self.mistake("price", "must be { prompt = …, completion = …, currency = \"…\" }");
                return None;
            }
        };
        let mut number = |name: &str| match table.remove(name) {
            Some(Value::Float(number)) => Some(number),
            Some(Value::Integer(number)) => Some(f64::from(i32::try_from(number).ok()?)),
            _ => None,
        };
        let (prompt, completion) = (number("prompt"), number("completion"));
        let currency = table.remove("currency").and_then(|it| it.as_str().map(str::to_owned));
        let (Some(prompt), Some(completion)) = (prompt, completion) else {
            self.mistake("price", "needs prompt and completion, of a million tokens");
            return None;
        };
        Some(Price { prompt, completion, currency: currency.unwrap_or_else(|| "USD".to_owned()) })
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

    fn count(&mut self, key: &str, least: u64) -> Option<u64> {
        let value = self.table.remove(key)?;
        let count = value.as_integer().and_then(|it| u64::try_from(it).ok());
        let count = count.filter(|count| *count >= least);
        if count.is_none() {
            self.mistake(key, format_args!("must be a number of {least} or more"));
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use runtime::config::Reader;

    use super::*;

    fn parsed(text: &str) -> Result<HashMap<String, Settings>, Vec<String>> {
        let given =
            [("AI_PROVIDER", "ezri"), ("AI_SERVICE_URL", "http://ours"), ("AI_API_KEY", "common")];
        let mut reader = Reader::new(&given);
        let common = Settings::read(&mut reader);
        parse(text, &common, &|_| Ok("from file\n".to_owned()))
    }

    #[test]
    fn a_tenant_has_what_it_names_and_else_what_all_have() {
        let text = "[[tenant]]\ntenant = 'acme'\nprovider = 'openai'\nurl = 'https://ai.example.com'\n\
                    key_file = '/k'\nmodel = 'small'\ntimeout_ms = 3000\nprice = { prompt = 1, completion = 2.5 }";
        let acme = parsed(text).unwrap().remove("acme").unwrap();
        assert_eq!((acme.kind, &*acme.url), (Kind::OpenAi, "https://ai.example.com"));
        assert_eq!(acme.key, Some(Secret::new("from file")));
        assert_eq!(acme.deadlines.first, Duration::from_secs(3));
        assert_eq!(acme.deadlines.total, Duration::from_secs(60));
        assert_eq!(acme.price.unwrap().currency, "USD");
    }

    #[test]
    fn the_common_key_never_goes_to_an_address_of_a_tenants_own() {
        let own = parsed("[[tenant]]\ntenant = 'a'\nurl = 'http://theirs'").unwrap();
        assert_eq!(own["a"].key, None);
        let same = parsed("[[tenant]]\ntenant = 'a'\nconcurrency = 2").unwrap();
        assert_eq!(same["a"].key, Some(Secret::new("common")));
    }

    #[test]
    fn every_mistake_is_told_with_its_place_and_without_the_key() {
        let text = "[[tenant]]\ntenant = 'a b'\nprovider = 'magic'\nkey = 'hush'\nkey_file = '/k'\n\
                    concurrency = 0\ncolour = 'red'\nprice = 3\n[[tenant]]\ntenant = 'x'\nprovider = 'openai'";
        let told = parsed(text).unwrap_err().join("\n");
        for place in [
            "tenant \"a b\": tenant",
            "provider",
            "key: is given twice",
            "concurrency",
            "colour",
            "price",
            "tenant \"x\": model",
        ] {
            assert!(told.contains(place), "{place} in {told}");
        }
        assert!(!told.contains("hush"), "{told}");
        assert!(parsed("key = 'hush").unwrap_err().iter().all(|it| !it.contains("hush")));
    }
}

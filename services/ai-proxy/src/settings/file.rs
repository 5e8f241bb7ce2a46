//! The TOML of `AI_FILE` read key by key, so that every mistake is told with its place and no secret is shown.

use std::collections::HashMap;
use std::time::Duration;

use domain::settings_file::{Section, Tables};
use domain::token::Tenant;
use runtime::config::Secret;
use toml::Value;

use super::{Kind, Price, Settings};
use crate::providers::Endpoint;

/// The hours after which the object store forgets by itself.
const LONGEST_KEPT: u64 = 720;

type ReadFile<'a> = &'a dyn Fn(&str) -> std::io::Result<String>;

/// The settings of the tenants named, each beginning with `common`; or everything that is wrong.
pub(super) fn parse(
    text: &str,
    common: &Settings,
    read: ReadFile<'_>,
) -> Result<HashMap<String, Settings>, Vec<String>> {
    let Tables { all, mut mistakes } =
        Tables::parse(text, "tenant").map_err(|mistake| vec![mistake])?;
    let mut tenants = HashMap::new();
    for (index, table) in all.into_iter().enumerate() {
        let mut section = Section::new("tenant", "tenant", index, table, &mut mistakes);
        let tenant = tenant(&mut section);
        let settings = settings(&mut section, common, read);
        if tenants.insert(tenant, settings).is_some() {
            section.mistake("tenant", "is named twice");
        }
    }
    if mistakes.is_empty() { Ok(tenants) } else { Err(mistakes) }
}

fn tenant(section: &mut Section<'_>) -> String {
    let name = section.text("tenant").unwrap_or_default();
    if name != "*" && Tenant::parse(&name).is_err() {
        section.mistake("tenant", "must be a tenant, or * for everybody else");
    }
    name
}

fn settings(section: &mut Section<'_>, common: &Settings, read: ReadFile<'_>) -> Settings {
    let mut settings = common.clone();
    if let Some(name) = section.text("provider") {
        match Kind::NAMES.iter().find(|(known, _)| *known == name) {
            Some((_, kind)) => settings.kind = *kind,
            None => section.mistake("provider", "is none of scripted, ezri, openai"),
        }
    }
    if let Some(url) = section.text("url") {
        if url != settings.url {
            // A key is meant for its own address and goes to no other.
            settings.key = None;
        }
        settings.url = url;
    }
    settings.key = key(section, read).or(settings.key);
    models(section, &mut settings);
    for (name, duration) in [
        ("connect_timeout_ms", &mut settings.deadlines.connect),
        ("timeout_ms", &mut settings.deadlines.first),
        ("idle_timeout_ms", &mut settings.deadlines.idle),
        ("total_timeout_ms", &mut settings.deadlines.total),
    ] {
        *duration = section.count(name, 1).map_or(*duration, Duration::from_millis);
    }
    let concurrency = section.count("concurrency", 1).and_then(|it| usize::try_from(it).ok());
    settings.concurrency = concurrency.unwrap_or(settings.concurrency);
    settings.tokens_per_hour =
        section.count("tokens_per_hour", 0).unwrap_or(settings.tokens_per_hour);
    settings.price = price(section).or(settings.price);
    let hours = section.count("keep_audio_hours", 1);
    if hours.is_some_and(|hours| hours > LONGEST_KEPT) {
        section.mistake(
            "keep_audio_hours",
            "must be 720 or less: the store forgets after thirty days",
        );
    }
    settings.keep_audio =
        hours.map(|it| Duration::from_secs(it.saturating_mul(3600))).or(settings.keep_audio);
    section.nothing_else();
    check(section, &settings);
    settings
}

/// What a provider needs.
fn check(section: &mut Section<'_>, settings: &Settings) {
    if settings.kind != Kind::Scripted && !Endpoint::is_base(&settings.url) {
        section.mistake("url", "must be an http or https address without a query");
    }
    if settings.kind == Kind::OpenAi && settings.models.chat.is_none() {
        section.mistake("model", "is missing; openai needs one");
    }
}

fn models(section: &mut Section<'_>, settings: &mut Settings) {
    let models = &mut settings.models;
    for (name, model) in [
        ("model", &mut models.chat),
        ("transcription_model", &mut models.transcription),
        ("speech_model", &mut models.speech),
        ("voice", &mut models.voice),
    ] {
        *model = section.text(name).or(model.take());
    }
    models.crisis_tool = section.flag("crisis_tool").unwrap_or(models.crisis_tool);
}

fn key(section: &mut Section<'_>, read: ReadFile<'_>) -> Option<Secret> {
    match (section.text("key"), section.text("key_file")) {
        (Some(_), Some(_)) => {
            section.mistake("key", "is given twice, here and in key_file; keep one");
            None
        }
        (Some(key), None) => Some(Secret::new(key)),
        (None, Some(path)) => match read(&path) {
            Ok(text) => Some(Secret::new(text.trim())),
            Err(error) => {
                section.mistake("key_file", format_args!("{path} cannot be read: {error}"));
                None
            }
        },
        (None, None) => None,
    }
}

fn price(section: &mut Section<'_>) -> Option<Price> {
    let mut table = match section.take("price")? {
        Value::Table(table) => table,
        _ => {
            section.mistake("price", "must be { prompt = …, completion = …, currency = \"…\" }");
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
        section.mistake("price", "needs prompt and completion, of a million tokens");
        return None;
    };
    Some(Price { prompt, completion, currency: currency.unwrap_or_else(|| "USD".to_owned()) })
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

//! The TOML of `SOURCES_FILE` read key by key, so that every mistake is told with its place.

use std::collections::HashMap;

use domain::settings_file::{Section, Tables};
use domain::signatures::standard_webhooks::Key;
use domain::token::{Tenant, Token};
use runtime::config::Secret;

use super::{Network, Provider, Source};

type ReadFile<'a> = &'a dyn Fn(&str) -> std::io::Result<String>;

/// What could be read, and everything that is wrong.
pub(super) fn parse(text: &str, read: ReadFile<'_>) -> (Vec<Source>, Vec<String>) {
    let Tables { all, mut mistakes } = match Tables::parse(text, "source") {
        Ok(tables) => tables,
        Err(mistake) => return (Vec::new(), vec![mistake]),
    };
    let mut sources = Vec::new();
    for (index, table) in all.into_iter().enumerate() {
        sources.extend(source(Section::new("source", "name", index, table, &mut mistakes), read));
    }
    (sources, mistakes)
}

fn source(mut section: Section<'_>, read: ReadFile<'_>) -> Option<Source> {
    let name = section.required_as("name", |text| Token::parse(text).map_err(|e| e.to_string()));
    let provider = section.required_as("provider", provider);
    let tenant =
        section.required_as("tenant", |text| Tenant::parse(text).map_err(|e| e.to_string()));
    let secrets = secrets(&mut section, read);
    let public_url = section.text("public_url").unwrap_or_default();
    let public_url = public_url.trim_end_matches('/').to_owned();
    let verify_token = section.text("verify_token").map(Secret::new);
    let accounts = accounts(&mut section);
    let owner = section.text("owner");
    let default = section.flag("default").unwrap_or(false);
    let allow_from = networks(&mut section);
    section.nothing_else();
    let source = Source {
        name: name?,
        provider: provider?,
        tenant: tenant?,
        secrets,
        public_url,
        verify_token,
        accounts,
        owner,
        default,
        allow_from,
    };
    check(&mut section, &source);
    Some(source)
}

/// What a provider needs or cannot use.
fn check(section: &mut Section<'_>, source: &Source) {
    let provider = source.provider.name();
    let is = |provider| source.provider == provider;
    let open = is(Provider::CallerDesk) && !source.allow_from.is_empty();
    if source.secrets.is_empty() && !open {
        let problem = match source.provider {
            Provider::CallerDesk => "is missing; without secrets give allow_from",
            _ => "is missing; give secrets or secrets_files",
        };
        section.mistake("secrets", problem);
    }
    if is(Provider::Twilio) && !is_origin(&source.public_url) {
        let example = "https://hooks.example.com";
        section.mistake("public_url", format_args!("must be the origin Twilio calls: {example}"));
    }
    if is(Provider::Standard) {
        let keys = source.secrets.iter().map(|secret| Key::parse(secret.expose()));
        if let Some(error) = keys.filter_map(Result::err).next() {
            section.mistake("secrets", format_args!("one of them {error}"));
        }
    }
    let misplaced = [
        ("public_url", !is(Provider::Twilio) && !source.public_url.is_empty()),
        ("verify_token", !is(Provider::WhatsApp) && source.verify_token.is_some()),
        ("accounts", !is(Provider::WhatsApp) && !source.accounts.is_empty()),
        ("allow_from", !is(Provider::CallerDesk) && !source.allow_from.is_empty()),
    ];
    for (key, _) in misplaced.iter().filter(|(_, wrong)| *wrong) {
        section.mistake(key, format_args!("means nothing for {provider}"));
    }
}

fn secrets(section: &mut Section<'_>, read: ReadFile<'_>) -> Vec<Secret> {
    let mut secrets: Vec<_> = section.texts("secrets").into_iter().map(Secret::new).collect();
    for path in section.texts("secrets_files") {
        match read(&path) {
            Ok(text) if !text.trim().is_empty() => {
                secrets.push(Secret::new(text.trim_end_matches(['\r', '\n'])));
            }
            Ok(_) => section.mistake("secrets_files", format_args!("{path} is empty")),
            Err(error) => {
                section.mistake("secrets_files", format_args!("{path} cannot be read: {error}"));
            }
        }
    }
    secrets
}

fn accounts(section: &mut Section<'_>) -> HashMap<String, String> {
    let Some(value) = section.take("accounts") else { return HashMap::new() };
    value.try_into().unwrap_or_else(|_| {
        section.mistake("accounts", "must be a table of texts: { \"1055\" = \"account-7\" }");
        HashMap::new()
    })
}

fn networks(section: &mut Section<'_>) -> Vec<Network> {
    let mut networks = Vec::new();
    for text in section.texts("allow_from") {
        match text.parse() {
            Ok(network) => networks.push(network),
            Err(error) => section.mistake("allow_from", format_args!("{text:?} {error}")),
        }
    }
    networks
}

fn provider(name: &str) -> Result<Provider, String> {
    let names = Provider::ALL.map(Provider::name).join(", ");
    Provider::parse(name).ok_or_else(|| format!("is not one of {names}"))
}

fn is_origin(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|host| !host.is_empty() && !host.contains(['?', '#', ' ']))
}

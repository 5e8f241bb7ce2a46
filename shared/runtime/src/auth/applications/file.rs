//! The TOML of `APPLICATIONS_FILE`. Every mistake is told with the application it is in.

use std::path::Path;

use domain::identity::Role;
use domain::token::Tenant;
use toml::{Table, Value};

use crate::auth::applications::entry::Entry;
use crate::auth::applications::{Application, Expiry, FROM_TOKEN, TenantRule};
use crate::config::Mistakes;

/// `folder` is where files named in it are looked for.
pub(in crate::auth) fn parse(
    text: &str,
    folder: Option<&Path>,
) -> Result<Vec<Application>, Mistakes> {
    let mut table =
        text.parse::<Table>().map_err(|error| Mistakes::one(unreadable(text, &error)))?;
    let mut mistakes = Vec::new();
    let entries = match table.remove("application") {
        Some(Value::Array(entries)) if !entries.is_empty() => entries,
        _ => {
            mistakes.push("APPLICATIONS_FILE: holds no [[application]]; add one".to_owned());
            Vec::new()
        }
    };
    for key in table.keys() {
        mistakes
            .push(format!("APPLICATIONS_FILE: {key}: is not known; there is only [[application]]"));
    }
    let mut applications = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let entry = Entry::new(index, entry, folder, &mut mistakes);
        applications.extend(application(entry));
    }
    if mistakes.is_empty() { Ok(applications) } else { Err(Mistakes(mistakes)) }
}

/// The parser's own text would quote the line, which may hold a secret.
fn unreadable(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    format!("APPLICATIONS_FILE: is not TOML: line {line}: {}", error.message())
}

fn application(mut entry: Entry<'_>) -> Option<Application> {
    let name = entry.required("name", "ezri");
    let ways_in = ["key", "auth_proxy", "anonymous"];
    let has_way_in = ways_in.into_iter().any(|key| entry.is_given(key));
    let tenant = tenant(&mut entry);
    let application = Application {
        name: name.unwrap_or_default().into(),
        tenant: tenant.unwrap_or(TenantRule::FromToken { otherwise: None }),
        origins: entry.origins(),
        key: entry.key(),
        issuer: entry.text("issuer"),
        audience: entry.text("audience"),
        expiry: expiry(&mut entry),
        roles: entry.roles(),
        default_role: entry.role("default_role").unwrap_or(Role::User),
        anonymous: anonymous(&mut entry),
        cookie: entry.text("cookie"),
        auth_proxy: entry.address("auth_proxy"),
    };
    if !has_way_in {
        entry.mistake("key", "missing; without it, auth_proxy or anonymous nobody can connect");
    }
    if application.anonymous.is_some() && application.tenant.without_token().is_none() {
        entry
            .mistake("anonymous", "needs a tenant of its own, since there is no token to name one");
    }
    entry.leftovers();
    Some(application)
}

fn tenant(entry: &mut Entry<'_>) -> Option<TenantRule> {
    let text = entry.required("tenant", "acme")?;
    if text == FROM_TOKEN {
        return Some(TenantRule::FromToken { otherwise: None });
    }
    match Tenant::parse(&text) {
        Ok(tenant) => Some(TenantRule::Fixed(tenant)),
        Err(error) => {
            entry.mistake("tenant", format_args!("{text:?} {error}, or {FROM_TOKEN}"));
            None
        }
    }
}

fn expiry(entry: &mut Entry<'_>) -> Expiry {
    match entry.text("expiry").as_deref() {
        None | Some("required") => Expiry::Required,
        Some("at-connect") => Expiry::AtConnect,
        Some(other) => {
            entry.mistake("expiry", format_args!("{other:?} is neither required nor at-connect"));
            Expiry::Required
        }
    }
}

/// Whoever has shown nothing must never administer or publish.
fn anonymous(entry: &mut Entry<'_>) -> Option<Role> {
    match entry.role("anonymous") {
        Some(role @ (Role::Admin | Role::Service)) => {
            let name = role.name();
            entry
                .mistake("anonymous", format_args!("must not be {name}; use guest, user or agent"));
            None
        }
        role => role,
    }
}

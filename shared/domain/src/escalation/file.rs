//! The TOML of `ESCALATION_FILE`, read key by key so that every mistake is told with its place.

use toml::{Table, Value};

use super::{Called, Chain, Chains, Tier, Webhook, Within};
use crate::channel::Channel;
use crate::settings_file::{Section, Tables};
use crate::signatures::standard_webhooks::Key;
use crate::token::Tenant;

/// A clock that is longer than a month is a mistake of units.
const LONGEST: i64 = 31 * 24 * 3600;
const MAX_NAME: usize = 256;
/// They are channels of one event.
const MAX_USERS: usize = 200;
const EVERYBODY: &str = "*";

pub(super) fn parse(text: &str) -> Result<Chains, Vec<String>> {
    let Tables { all, mut mistakes } =
        Tables::parse(text, "chain").map_err(|mistake| vec![mistake])?;
    let mut chains = Chains::default();
    let mut seen = Vec::new();
    for (index, table) in all.into_iter().enumerate() {
        let mut section = Section::new("chain", "tenant", index, table, &mut mistakes);
        let (tenant, chain) = chain(&mut section);
        let Some(tenant) = tenant else { continue };
        if seen.contains(&tenant) {
            section.mistake("tenant", "has a chain already");
        }
        match Tenant::parse(&tenant) {
            Ok(name) => drop(chains.of_tenant.insert(name, chain)),
            Err(_) => chains.everybody = chain,
        }
        seen.push(tenant);
    }
    if mistakes.is_empty() { Ok(chains) } else { Err(mistakes) }
}

/// A chain, as far as it can be read, and whose it is.
fn chain(section: &mut Section<'_>) -> (Option<String>, Chain) {
    let tenant = section.required_as("tenant", |text| {
        let fits = text == EVERYBODY || Tenant::parse(text).is_ok();
        fits.then(|| text.to_owned()).ok_or("is neither a tenant nor *")
    });
    let defaults = Chain::default();
    let acknowledge_within = within(section);
    let resolve_within = seconds(section, "resolve_within", defaults.resolve_within);
    let found = section.tables("tier");
    if found.is_empty() {
        section.mistake("tier", "is missing; give at least one [[chain.tier]]");
    }
    section.nothing_else();
    let mut tiers = Vec::new();
    for (index, table) in found.into_iter().enumerate() {
        tiers.extend(tier(section.nth("tier", "name", index, table)));
    }
    let tiers = if tiers.is_empty() { defaults.tiers } else { tiers };
    (tenant, Chain { acknowledge_within, resolve_within, tiers })
}

fn tier(mut section: Section<'_>) -> Option<Tier> {
    let name = section.required_as("name", |text| {
        (text.len() <= MAX_NAME).then(|| text.to_owned()).ok_or("is too long")
    });
    let called = called(&mut section);
    let webhook = webhook(&mut section);
    section.nothing_else();
    Some(Tier { name: name?, called: called?, webhook })
}

fn seconds(section: &mut Section<'_>, key: &str, default: u32) -> u32 {
    let Some(value) = section.take(key) else { return default };
    let seconds = value.as_integer().filter(|seconds| (1..=LONGEST).contains(seconds));
    seconds.and_then(|seconds| seconds.try_into().ok()).unwrap_or_else(|| {
        section.mistake(key, format_args!("must be 1 to {LONGEST} seconds"));
        default
    })
}

fn within(section: &mut Section<'_>) -> Within {
    let key = "acknowledge_within";
    let table = match section.take(key) {
        None => return Within::DEFAULT,
        Some(Value::Table(table)) => table,
        Some(_) => {
            section.mistake(key, "must be a table of seconds: { imminent = 60, high = 300 }");
            return Within::DEFAULT;
        }
    };
    let mut section = section.within(key, table);
    let within = Within {
        imminent: seconds(&mut section, "imminent", Within::DEFAULT.imminent),
        high: seconds(&mut section, "high", Within::DEFAULT.high),
        moderate: seconds(&mut section, "moderate", Within::DEFAULT.moderate),
    };
    for key in ["unknown", "low"] {
        if section.take(key).is_some() {
            section.mistake(key, "cannot be set: unknown counts as imminent, low has no clock");
        }
    }
    section.nothing_else();
    within
}

fn called(section: &mut Section<'_>) -> Option<Called> {
    match (section.has("role"), section.take("users")) {
        (true, None) => section.required_as("role", |role| match role {
            "admin" => Ok(Called::Admins),
            "agent" => Ok(Called::Agents),
            _ => Err("is neither admin nor agent"),
        }),
        (false, Some(users)) => {
            let users = users_of(users);
            if users.is_none() {
                section
                    .mistake("users", format_args!("must be 1 to {MAX_USERS} user ids, as texts"));
            }
            users.map(Called::Users)
        }
        _ => {
            section.take("role");
            section.mistake("role", "give either a role or users");
            None
        }
    }
}

fn users_of(value: Value) -> Option<Vec<String>> {
    let users = value.try_into::<Vec<String>>().ok()?;
    let fits =
        |user: &String| (1..=160).contains(&user.len()) && Channel::with_id("user", user).is_ok();
    ((1..=MAX_USERS).contains(&users.len()) && users.iter().all(fits)).then_some(users)
}

fn webhook(section: &mut Section<'_>) -> Option<Webhook> {
    let table: Table = match section.take("webhook")? {
        Value::Table(table) => table,
        _ => {
            section.mistake("webhook", "must be { url = \"https://…\", secret = \"whsec_…\" }");
            return None;
        }
    };
    let mut section = section.within("webhook", table);
    let url = address(&mut section);
    let key = key(&mut section);
    section.nothing_else();
    Some(Webhook { url: url?.into(), key: key? })
}

/// Not shown when it is wrong: it may hold a token.
fn address(section: &mut Section<'_>) -> Option<String> {
    let url = section.required("url")?;
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let host = rest.map(|rest| rest.split(['/', '?']).next().unwrap_or_default());
    let fits = host.is_some_and(|host| !host.is_empty() && !host.contains(['@', '#']));
    let is_plain = |c: char| c.is_ascii_graphic() && !"\"<>\\^`{|}".contains(c);
    if !fits || !url.chars().all(is_plain) {
        section.mistake("url", "is not an http or https address");
        return None;
    }
    Some(url)
}

fn key(section: &mut Section<'_>) -> Option<Key> {
    let secret = section.required("secret")?;
    Key::parse(&secret).map_err(|error| section.mistake("secret", error)).ok()
}

//! The TOML of `ESCALATION_FILE`, read key by key so that every mistake is told with its place.

use std::fmt::Display;

use toml::{Table, Value};

use super::{Called, Chain, Chains, Tier, Webhook, Within};
use crate::channel::Channel;
use crate::signatures::standard_webhooks::Key;
use crate::token::Tenant;

/// A clock that is longer than a month is a mistake of units.
const LONGEST: i64 = 31 * 24 * 3600;
const MAX_NAME: usize = 256;
/// They are channels of one event.
const MAX_USERS: usize = 200;
const EVERYBODY: &str = "*";

pub(super) fn parse(text: &str) -> Result<Chains, Vec<String>> {
    let mut table = match text.parse::<Table>() {
        Ok(table) => table,
        // The parser's own message quotes the line, which may hold a secret.
        Err(error) => return Err(vec![format!("is not TOML: {}", place(text, &error))]),
    };
    let mut mistakes = Vec::new();
    let entries = tables(&mut table, "chain", "", &mut mistakes);
    mistakes
        .extend(table.keys().map(|key| format!("{key}: is not known; there is only [[chain]]")));
    let mut chains = Chains::default();
    let mut seen = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let (tenant, chain) = chain(entry, index, &mut mistakes);
        let Some(tenant) = tenant else { continue };
        if seen.contains(&tenant) {
            mistakes.push(format!("chain {tenant:?}: tenant: has a chain already"));
        }
        match Tenant::parse(&tenant) {
            Ok(name) => drop(chains.of_tenant.insert(name, chain)),
            Err(_) => chains.everybody = chain,
        }
        seen.push(tenant);
    }
    if mistakes.is_empty() { Ok(chains) } else { Err(mistakes) }
}

fn place(text: &str, error: &toml::de::Error) -> String {
    let line =
        error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    match line {
        Some(line) => format!("line {line}: {}", error.message()),
        None => error.message().to_owned(),
    }
}

fn tables(table: &mut Table, key: &str, label: &str, mistakes: &mut Vec<String>) -> Vec<Table> {
    let all = match table.remove(key) {
        None => Some(Vec::new()),
        Some(Value::Array(all)) => all.into_iter().map(|v| v.try_into::<Table>().ok()).collect(),
        Some(_) => None,
    };
    all.unwrap_or_else(|| {
        mistakes.push(format!("{label}{key}: must be tables"));
        Vec::new()
    })
}

/// A chain, as far as it can be read, and whose it is.
fn chain(table: Table, index: usize, mistakes: &mut Vec<String>) -> (Option<String>, Chain) {
    let label = match table.get("tenant").and_then(Value::as_str) {
        Some(tenant) => format!("chain {tenant:?}"),
        None => format!("chain number {}", index + 1),
    };
    let mut entry = Entry { label, table, mistakes };
    let tenant = entry.required("tenant", |text| {
        let fits = text == EVERYBODY || Tenant::parse(text).is_ok();
        fits.then(|| text.to_owned()).ok_or("is neither a tenant nor *")
    });
    let defaults = Chain::default();
    let acknowledge_within = entry.within();
    let resolve_within = entry.seconds("resolve_within", defaults.resolve_within);
    let label = format!("{}: ", entry.label);
    let found = tables(&mut entry.table, "tier", &label, entry.mistakes);
    if found.is_empty() {
        entry.mistake("tier", "is missing; give at least one [[chain.tier]]");
    }
    entry.nothing_else();
    let tiers = found.into_iter().enumerate();
    let tiers: Vec<_> = tiers.filter_map(|(at, table)| tier(table, &label, at, mistakes)).collect();
    let tiers = if tiers.is_empty() { defaults.tiers } else { tiers };
    (tenant, Chain { acknowledge_within, resolve_within, tiers })
}

fn tier(table: Table, chain: &str, index: usize, mistakes: &mut Vec<String>) -> Option<Tier> {
    let label = match table.get("name").and_then(Value::as_str) {
        Some(name) => format!("{chain}tier {name:?}"),
        None => format!("{chain}tier number {}", index + 1),
    };
    let mut entry = Entry { label, table, mistakes };
    let name = entry.required("name", |text| {
        (text.len() <= MAX_NAME).then(|| text.to_owned()).ok_or("is too long")
    });
    let called = entry.called();
    let webhook = entry.webhook();
    entry.nothing_else();
    Some(Tier { name: name?, called: called?, webhook })
}

/// One table, emptied key by key.
struct Entry<'a> {
    label: String,
    table: Table,
    mistakes: &'a mut Vec<String>,
}

impl Entry<'_> {
    fn mistake(&mut self, key: &str, problem: impl Display) {
        self.mistakes.push(format!("{}: {key}: {problem}", self.label));
    }

    fn nothing_else(&mut self) {
        for key in self.table.keys().cloned().collect::<Vec<_>>() {
            self.mistake(&key, "is not known");
        }
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

    fn required<T>(
        &mut self,
        key: &str,
        read: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Option<T> {
        if !self.table.contains_key(key) {
            self.mistake(key, "is missing");
        }
        let text = self.text(key)?;
        read(&text).map_err(|problem| self.mistake(key, format_args!("{text:?} {problem}"))).ok()
    }

    fn seconds(&mut self, key: &str, default: u32) -> u32 {
        let Some(value) = self.table.remove(key) else { return default };
        let seconds = value.as_integer().filter(|seconds| (1..=LONGEST).contains(seconds));
        seconds.and_then(|seconds| seconds.try_into().ok()).unwrap_or_else(|| {
            self.mistake(key, format_args!("must be 1 to {LONGEST} seconds"));
            default
        })
    }

    fn within(&mut self) -> Within {
        let key = "acknowledge_within";
        let table = match self.table.remove(key) {
            None => return Within::DEFAULT,
            Some(Value::Table(table)) => table,
            Some(_) => {
                self.mistake(key, "must be a table of seconds: { imminent = 60, high = 300 }");
                return Within::DEFAULT;
            }
        };
        let label = format!("{}: {key}", self.label);
        let mut entry = Entry { label, table, mistakes: self.mistakes };
        let within = Within {
            imminent: entry.seconds("imminent", Within::DEFAULT.imminent),
            high: entry.seconds("high", Within::DEFAULT.high),
            moderate: entry.seconds("moderate", Within::DEFAULT.moderate),
        };
        for key in ["unknown", "low"] {
            if entry.table.remove(key).is_some() {
                entry.mistake(key, "cannot be set: unknown counts as imminent, low has no clock");
            }
        }
        entry.nothing_else();
        within
    }

    fn called(&mut self) -> Option<Called> {
        let users = self.table.remove("users");
        let role = self.table.contains_key("role");
        match (role, users) {
            (true, None) => self.required("role", |role| match role {
                "admin" => Ok(Called::Admins),
                "agent" => Ok(Called::Agents),
                _ => Err("is neither admin nor agent"),
            }),
            (false, Some(users)) => {
                let users = users.try_into::<Vec<String>>().ok().filter(|users| {
                    let fits = |user: &String| {
                        (1..=160).contains(&user.len()) && Channel::with_id("user", user).is_ok()
                    };
                    (1..=MAX_USERS).contains(&users.len()) && users.iter().all(fits)
                });
                if users.is_none() {
                    let problem = format!("must be 1 to {MAX_USERS} user ids, as texts");
                    self.mistake("users", problem);
                }
                users.map(Called::Users)
            }
            _ => {
                self.table.remove("role");
                self.mistake("role", "give either a role or users");
                None
            }
        }
    }

    fn webhook(&mut self) -> Option<Webhook> {
        let table = match self.table.remove("webhook")? {
            Value::Table(table) => table,
            _ => {
                self.mistake("webhook", "must be { url = \"https://…\", secret = \"whsec_…\" }");
                return None;
            }
        };
        let label = format!("{}: webhook", self.label);
        let mut entry = Entry { label, table, mistakes: self.mistakes };
        let url = entry.address();
        let key = entry.key();
        entry.nothing_else();
        Some(Webhook { url: url?.into(), key: key? })
    }

    /// Not shown when it is wrong: it may hold a token.
    fn address(&mut self) -> Option<String> {
        if !self.table.contains_key("url") {
            self.mistake("url", "is missing");
        }
        let url = self.text("url")?;
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let host = rest.map(|rest| rest.split(['/', '?']).next().unwrap_or_default());
        let fits = host.is_some_and(|host| !host.is_empty() && !host.contains(['@', '#']));
        let is_plain = |c: char| c.is_ascii_graphic() && !"\"<>\\^`{|}".contains(c);
        if !fits || !url.chars().all(is_plain) {
            self.mistake("url", "is not an http or https address");
            return None;
        }
        Some(url)
    }

    fn key(&mut self) -> Option<Key> {
        if !self.table.contains_key("secret") {
            self.mistake("secret", "is missing");
        }
        let secret = self.text("secret")?;
        Key::parse(&secret).map_err(|error| self.mistake("secret", error)).ok()
    }
}

//! Typed reading of declared variables. It collects mistakes instead of stopping at the first.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::config::{Fallback, Mistakes, Secret, Strings, Variable};

pub struct Reader<'a> {
    strings: &'a dyn Strings,
    mistakes: Vec<String>,
}

impl<'a> Reader<'a> {
    pub fn new(strings: &'a dyn Strings) -> Self {
        Self { strings, mistakes: Vec::new() }
    }

    /// The configuration, or everything that was wrong with it.
    pub fn finish<T>(self, config: T) -> Result<T, Mistakes> {
        if self.mistakes.is_empty() { Ok(config) } else { Err(Mistakes(self.mistakes)) }
    }

    /// Adds a mistake of the caller's own, for checks that span several variables.
    pub fn mistake(&mut self, variable: &Variable, text: impl Display) {
        self.mistakes.push(format!("{}: {text}", variable.name));
    }

    /// The mistakes of a file or another part, beside those of the variables.
    pub fn mistakes(&mut self, mistakes: Mistakes) {
        self.mistakes.extend(mistakes.0);
    }

    /// What was set; an empty string counts as not set, since that is how compose files say "none".
    pub fn given(&self, variable: &Variable) -> Option<String> {
        self.strings.get(variable.name).filter(|value| !value.trim().is_empty())
    }

    /// Whether it was set, itself or as `NAME_FILE`.
    pub fn is_given(&self, variable: &Variable) -> bool {
        self.given(variable).is_some() || self.file_of(variable).is_some()
    }

    /// The `NAME_FILE` that was set; an empty one counts as not set, like every variable.
    fn file_of(&self, variable: &Variable) -> Option<String> {
        self.strings.get(&file_variant(variable)).filter(|path| !path.trim().is_empty())
    }

    /// The value or the declared default; `None` where there is neither. A required one is missed.
    pub fn optional(&mut self, variable: &Variable) -> Option<String> {
        let given = self.given(variable);
        match variable.default {
            _ if given.is_some() => given,
            Fallback::Is(value) => Some(value.to_owned()),
            Fallback::None | Fallback::Varies(_) => None,
            Fallback::Required { example } => {
                self.mistake(variable, format_args!("missing, for example {example}"));
                None
            }
        }
    }

    /// The value or the declared default; empty (and a mistake) when there is neither.
    pub fn text(&mut self, variable: &Variable) -> String {
        let before = self.mistakes.len();
        let value = self.optional(variable);
        if value.is_none() && before == self.mistakes.len() {
            self.mistake(variable, "missing");
        }
        value.unwrap_or_default()
    }

    /// The value or this service's own default, where services differ.
    pub fn text_or(&mut self, variable: &Variable, default: &str) -> String {
        self.given(variable).unwrap_or_else(|| default.to_owned())
    }

    /// A value by its `FromStr`; `kind` completes "… is not".
    pub fn parsed<T: FromStr>(&mut self, variable: &Variable, kind: &str) -> Option<T> {
        let text = self.optional(variable)?;
        let value = text.trim().parse().ok();
        if value.is_none() {
            self.mistake(variable, format_args!("{text:?} is not {kind}"));
        }
        value
    }

    pub fn number<T: FromStr + Default>(&mut self, variable: &Variable) -> T {
        self.parsed(variable, "a number").unwrap_or_default()
    }

    /// A number of which zero would leave nothing that works.
    pub fn positive<T: FromStr + Default + PartialEq>(&mut self, variable: &Variable) -> T {
        let value = self.parsed(variable, "a number");
        if value == Some(T::default()) {
            self.mistake(variable, "must be 1 or more");
        }
        value.unwrap_or_default()
    }

    /// The same for a time.
    pub fn positive_milliseconds(&mut self, variable: &Variable) -> Duration {
        let duration = self.parsed(variable, "a number of milliseconds");
        if duration == Some(0) {
            self.mistake(variable, "must be 1 or more");
        }
        Duration::from_millis(duration.unwrap_or_default())
    }

    pub fn bytes(&mut self, variable: &Variable) -> usize {
        self.parsed(variable, "a number of bytes").unwrap_or_default()
    }

    pub fn milliseconds(&mut self, variable: &Variable) -> Duration {
        let millis = self.parsed(variable, "a number of milliseconds");
        Duration::from_millis(millis.unwrap_or_default())
    }

    pub fn seconds(&mut self, variable: &Variable) -> Duration {
        let seconds = self.parsed(variable, "a number of seconds");
        Duration::from_secs(seconds.unwrap_or_default())
    }

    /// `1`, `true`, `yes`, `on` and their opposites; not set and without a default means no.
    pub fn flag(&mut self, variable: &Variable) -> bool {
        match self.optional(variable).map(|text| text.trim().to_ascii_lowercase()).as_deref() {
            None | Some("0" | "false" | "no" | "off") => false,
            Some("1" | "true" | "yes" | "on") => true,
            Some(other) => {
                self.mistake(
                    variable,
                    format_args!("{other:?} is neither 1 (true, yes, on) nor 0 (false, no, off)"),
                );
                false
            }
        }
    }

    /// Comma-separated values without the empty ones.
    pub fn list(&mut self, variable: &Variable) -> Vec<String> {
        split(&self.optional(variable).unwrap_or_default()).map(str::to_owned).collect()
    }

    pub fn path(&mut self, variable: &Variable) -> Option<PathBuf> {
        self.optional(variable).map(PathBuf::from)
    }

    /// Comma-separated addresses to listen on; `default` is this service's own.
    pub fn addresses_or(&mut self, variable: &Variable, default: &str) -> Vec<SocketAddr> {
        let text = self.text_or(variable, default);
        let mut addresses = Vec::new();
        for part in split(&text) {
            match address(part) {
                Some(address) => addresses.push(address),
                None => self.mistake(
                    variable,
                    format_args!("{part:?} is not an address to listen on such as 0.0.0.0:8080"),
                ),
            }
        }
        addresses
    }

    /// One of the named values; the first name is not a default.
    pub fn choice<T: Copy>(&mut self, variable: &Variable, choices: &[(&str, T)]) -> Option<T> {
        let text = self.optional(variable)?;
        let found = choices.iter().find(|(name, _)| *name == text.trim());
        if found.is_none() {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            self.mistake(variable, format_args!("{text:?} is not one of {}", names.join(", ")));
        }
        found.map(|(_, value)| *value)
    }

    /// A secret by `NAME` or the file in `NAME_FILE`, whose trailing line ends are left out.
    pub fn secret(&mut self, variable: &Variable) -> Option<Secret> {
        let file = file_variant(variable);
        match (self.given(variable), self.file_of(variable)) {
            (Some(_), Some(_)) => {
                self.mistake(variable, format_args!("given twice, here and in {file}; keep one"));
                None
            }
            (None, Some(path)) => self.secret_file(&file, &path),
            _ => self.optional(variable).map(Secret::new),
        }
    }

    /// As `secret`; an empty one (and a mistake) when it is missing.
    pub fn required_secret(&mut self, variable: &Variable) -> Secret {
        let before = self.mistakes.len();
        let secret = self.secret(variable);
        if secret.is_none() && before == self.mistakes.len() {
            let name = variable.name;
            self.mistake(variable, format_args!("missing; set it or {name}_FILE"));
        }
        secret.unwrap_or_else(|| Secret::new(""))
    }

    fn secret_file(&mut self, name: &str, path: &str) -> Option<Secret> {
        match std::fs::read_to_string(path) {
            Ok(text) if !text.trim().is_empty() => {
                Some(Secret::new(text.trim_end_matches(['\r', '\n'])))
            }
            Ok(_) => {
                self.mistakes.push(format!("{name}: {path} is empty; put the secret into it"));
                None
            }
            Err(error) => {
                self.mistakes.push(format!("{name}: {path} cannot be read: {error}"));
                None
            }
        }
    }
}

fn file_variant(variable: &Variable) -> String {
    format!("{}_FILE", variable.name)
}

fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// `ip:port`; `localhost:port` and `:port` are what people write besides.
fn address(text: &str) -> Option<SocketAddr> {
    if let Some(port) = text.strip_prefix("localhost:") {
        return Some(SocketAddr::from(([127, 0, 0, 1], port.parse().ok()?)));
    }
    if let Some(port) = text.strip_prefix(':') {
        return Some(SocketAddr::from(([0, 0, 0, 0], port.parse().ok()?)));
    }
    text.parse().ok()
}

//! Settings files in TOML, read key by key so that every mistake is told with its place. No message shows a value that
//! may be a secret. It must not know what the keys mean.

use std::fmt::Display;

use toml::{Table, Value};

/// A file that consists of tables of one name, such as `[[source]]`, and nothing else.
#[derive(Debug)]
pub struct Tables {
    pub all: Vec<Table>,
    pub mistakes: Vec<String>,
}

impl Tables {
    /// The tables `name`; the error says why there is nothing to read.
    pub fn parse(text: &str, name: &str) -> Result<Self, String> {
        let mut table = text.parse::<Table>().map_err(|error| {
            // The parser's own rendering quotes the line, which may hold a secret.
            format!("is not TOML: {}", place(text, &error))
        })?;
        let mut mistakes = Vec::new();
        let all = match tables(&mut table, name) {
            Some(all) => all,
            None => {
                mistakes.push(format!("{name}: write [[{name}]] for each one"));
                Vec::new()
            }
        };
        let others = table.keys();
        mistakes.extend(others.map(|key| format!("{key}: is not known; there is only [[{name}]]")));
        Ok(Self { all, mistakes })
    }
}

fn place(text: &str, error: &toml::de::Error) -> String {
    let line =
        error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    match line {
        Some(line) => format!("line {line}: {}", error.message()),
        None => error.message().to_owned(),
    }
}

fn tables(table: &mut Table, key: &str) -> Option<Vec<Table>> {
    match table.remove(key) {
        None => Some(Vec::new()),
        Some(Value::Array(all)) => all.into_iter().map(|value| value.try_into().ok()).collect(),
        Some(_) => None,
    }
}

/// One table, emptied key by key; what is left at the end is not known.
#[derive(Debug)]
pub struct Section<'a> {
    label: String,
    table: Table,
    mistakes: &'a mut Vec<String>,
}

impl<'a> Section<'a> {
    /// The `index`th table of `kind`, which mistakes call by what its key `name` says, or else by its number.
    pub fn new(
        kind: &str,
        name: &str,
        index: usize,
        table: Table,
        mistakes: &'a mut Vec<String>,
    ) -> Self {
        let label = match table.get(name).and_then(Value::as_str) {
            Some(name) => format!("{kind} {name:?}"),
            None => format!("{kind} number {}", index + 1),
        };
        Self { label, table, mistakes }
    }

    /// A table within this one.
    pub fn within(&mut self, key: &str, table: Table) -> Section<'_> {
        let label = format!("{}: {key}", self.label);
        Section { label, table, mistakes: self.mistakes }
    }

    /// Tables within this one; each is made a section by [`Self::nth`].
    pub fn tables(&mut self, key: &str) -> Vec<Table> {
        tables(&mut self.table, key).unwrap_or_else(|| {
            self.mistake(key, "must be tables");
            Vec::new()
        })
    }

    /// The `index`th of the tables of `kind` within this one.
    pub fn nth(&mut self, kind: &str, name: &str, index: usize, table: Table) -> Section<'_> {
        let kind = format!("{}: {kind}", self.label);
        Section::new(&kind, name, index, table, self.mistakes)
    }

    pub fn mistake(&mut self, key: &str, problem: impl Display) {
        self.mistakes.push(format!("{}: {key}: {problem}", self.label));
    }

    /// Whether the key is still there.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    pub fn take(&mut self, key: &str) -> Option<Value> {
        self.table.remove(key)
    }

    /// A text that is not empty.
    pub fn text(&mut self, key: &str) -> Option<String> {
        match self.table.remove(key)? {
            Value::String(text) if !text.trim().is_empty() => Some(text),
            _ => {
                self.mistake(key, "must be a text that is not empty");
                None
            }
        }
    }

    /// The same where there must be one. It is not shown: it may be a secret.
    pub fn required(&mut self, key: &str) -> Option<String> {
        if !self.table.contains_key(key) {
            self.mistake(key, "is missing");
        }
        self.text(key)
    }

    /// What a text that must be there means. It is shown when it means nothing.
    pub fn required_as<T, E: Display>(
        &mut self,
        key: &str,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.required(key)?;
        read(&text).map_err(|problem| self.mistake(key, format_args!("{text:?} {problem}"))).ok()
    }

    pub fn texts(&mut self, key: &str) -> Vec<String> {
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

    pub fn flag(&mut self, key: &str) -> Option<bool> {
        match self.table.remove(key)? {
            Value::Boolean(flag) => Some(flag),
            _ => {
                self.mistake(key, "must be true or false");
                None
            }
        }
    }

    pub fn count(&mut self, key: &str, least: u64) -> Option<u64> {
        let value = self.table.remove(key)?;
        let count = value.as_integer().and_then(|it| u64::try_from(it).ok());
        let count = count.filter(|count| *count >= least);
        if count.is_none() {
            self.mistake(key, format_args!("must be a number of {least} or more"));
        }
        count
    }

    /// Whatever was not taken is a mistake.
    pub fn nothing_else(&mut self) {
        for key in std::mem::take(&mut self.table).keys() {
            self.mistake(key, "is not known");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_told_with_its_place_and_what_may_be_secret_is_not_shown() {
        let text = "other = 1\n[[thing]]\nname = 'a'\nkey = 7\ncount = 0\nflag = 'x'\nlist = ['']\n\
                    left = 'hush'\n[thing.in]\nurl = ''\n[[thing]]\n";
        let Tables { all, mut mistakes } = Tables::parse(text, "thing").unwrap();
        for (index, table) in all.into_iter().enumerate() {
            let mut thing = Section::new("thing", "name", index, table, &mut mistakes);
            assert_eq!(thing.text("name").is_some(), index == 0);
            assert_eq!(thing.required("key"), None);
            assert_eq!((thing.count("count", 1), thing.flag("flag")), (None, None));
            assert!(thing.texts("list").is_empty());
            if let Some(Value::Table(table)) = thing.take("in") {
                assert_eq!(thing.within("in", table).text("url"), None);
            }
            thing.nothing_else();
        }
        let expected = [
            "other: is not known; there is only [[thing]]",
            "thing \"a\": key: must be a text that is not empty",
            "thing \"a\": count: must be a number of 1 or more",
            "thing \"a\": flag: must be true or false",
            "thing \"a\": list: must be a list of texts that are not empty",
            "thing \"a\": in: url: must be a text that is not empty",
            "thing \"a\": left: is not known",
            "thing number 2: key: is missing",
        ];
        assert_eq!(mistakes, expected);
    }

    #[test]
    fn what_is_no_toml_is_told_by_its_line_without_its_text() {
        let told = Tables::parse("[[thing]]\nkey = 'hush", "thing").unwrap_err();
        assert!(told.starts_with("is not TOML: line 2") && !told.contains("hush"), "{told}");
        let told = Tables::parse("thing = 3", "thing").unwrap().mistakes;
        assert_eq!(told, ["thing: write [[thing]] for each one"]);
    }
}

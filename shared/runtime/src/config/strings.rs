//! Where configuration strings come from. It must not know what they mean.

use std::collections::{BTreeMap, HashMap};

pub trait Strings {
    fn get(&self, name: &str) -> Option<String>;
}

/// The process environment. A value that is not UTF-8 counts as not set.
#[derive(Clone, Copy, Debug, Default)]
pub struct Environment;

impl Strings for Environment {
    #[expect(clippy::disallowed_methods, reason = "this is the one module that reads it")]
    fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

/// The first where it says something, else the second.
#[derive(Clone, Debug)]
pub struct Overlay<A, B>(pub A, pub B);

impl<A: Strings, B: Strings> Strings for Overlay<A, B> {
    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).or_else(|| self.1.get(name))
    }
}

impl<S: Strings + ?Sized> Strings for &S {
    fn get(&self, name: &str) -> Option<String> {
        (**self).get(name)
    }
}

impl Strings for HashMap<String, String> {
    fn get(&self, name: &str) -> Option<String> {
        HashMap::get(self, name).cloned()
    }
}

impl Strings for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<String> {
        BTreeMap::get(self, name).cloned()
    }
}

impl<const N: usize> Strings for [(&str, &str); N] {
    fn get(&self, name: &str) -> Option<String> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    }
}

//! A real browser with pages that use the stock packages; each page's lines in the order in which it told them.

use std::collections::VecDeque;
use std::net::SocketAddr;

use serde_json::{Value as Json, json};

use super::http::PATIENCE;
use super::scripts::{Script, setting};
use crate::harness::free_port;

pub(crate) struct Chromium {
    script: Script,
    told: VecDeque<Json>,
}

/// Where the pages come from: reserved before the platform starts, since it must allow this origin.
pub(crate) struct Site(SocketAddr);

impl Site {
    pub(crate) fn reserve() -> Self {
        Self(free_port())
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.0)
    }
}

impl Chromium {
    pub(crate) fn start(site: &Site) -> Self {
        let chromium = setting("CHROMIUM_BIN", "/usr/bin/chromium");
        assert!(chromium.exists(), "Chromium is missing: `cargo xtask test` installs it");
        let port = site.0.port().to_string();
        let environment = [("CHROMIUM_BIN", chromium.to_str().unwrap()), ("PAGE_PORT", &port)];
        let script = Script::node("applications/browser.mjs", &environment);
        Self { script, told: VecDeque::new() }
    }

    /// Opens an application in a context of its own.
    pub(crate) async fn open(&mut self, page: &str, app: &str, rest: Json) {
        let mut line = json!({ "op": "open", "page": page, "app": app });
        line.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        self.script.tell(&line).await;
    }

    pub(crate) async fn run(&mut self, page: &str, operation: Json) {
        self.script.tell(&json!({ "op": "run", "page": page, "operation": operation })).await;
    }

    /// The page's next line of which this holds; others wait.
    pub(crate) async fn until(&mut self, page: &str, is_it: impl Fn(&Json) -> bool) -> Json {
        let is_it = |line: &Json| line["page"] == page && is_it(line);
        loop {
            if let Some(at) = self.told.iter().position(is_it) {
                return self.told.remove(at).unwrap();
            }
            let line = self.script.answer_within(PATIENCE * 6).await;
            assert_ne!(line["kind"], "failure", "{line}");
            self.told.push_back(line);
        }
    }

    pub(crate) async fn wait(&mut self, page: &str, kind: &str) -> Json {
        self.until(page, |line| line["kind"] == kind).await
    }

    pub(crate) async fn event(&mut self, page: &str, name: &str) -> Json {
        self.until(page, |line| line["kind"] == "event" && line["name"] == name).await
    }

    /// Whether a page has told of such an event that nobody has waited for.
    pub(crate) fn has_unread(&self, page: &str, name: &str) -> bool {
        self.told.iter().any(|line| line["page"] == page && line["name"] == name)
    }

    pub(crate) fn finish(&mut self) {
        self.script.finish();
    }
}

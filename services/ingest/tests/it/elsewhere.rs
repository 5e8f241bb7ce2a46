//! A system outside of the platform: answers as it is told to, and remembers what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderMap;
use runtime::tasks::{Owned, owned};
use tokio::net::TcpListener;

use crate::harness::eventually;

/// What it does with a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reaction {
    Answer(u16, &'static str),
    /// It takes the request and never answers.
    Silence,
    /// It sends the caller somewhere else.
    Redirect,
}

#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Heard {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

#[derive(Default)]
struct Memory {
    script: VecDeque<Reaction>,
    heard: Vec<Heard>,
}

pub(crate) struct Elsewhere {
    pub url: String,
    memory: Arc<Mutex<Memory>>,
    _running: Owned<()>,
}

impl Elsewhere {
    /// Goes through the script and answers 200 behind its end.
    pub(crate) async fn start(script: &[Reaction]) -> Self {
        let memory = Memory { script: script.iter().copied().collect(), heard: Vec::new() };
        let memory = Arc::new(Mutex::new(memory));
        let router = Router::new().fallback(react).with_state(memory.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let running = owned(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, memory, _running: running }
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.memory.lock().unwrap().heard.clone()
    }

    pub(crate) async fn has_heard(&self, times: usize) -> Vec<Heard> {
        eventually(&format!("{times} requests"), async || self.heard().len() >= times).await;
        self.heard()
    }
}

async fn react(State(memory): State<Arc<Mutex<Memory>>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let reaction = {
        let mut memory = memory.lock().unwrap();
        let (method, path) = (head.method.to_string(), head.uri.path().to_owned());
        memory.heard.push(Heard { method, path, headers: head.headers, body });
        memory.script.pop_front().unwrap_or(Reaction::Answer(200, "{}"))
    };
    match reaction {
        Reaction::Answer(status, body) => {
            (StatusCode::from_u16(status).unwrap(), body).into_response()
        }
        Reaction::Redirect => {
            (StatusCode::TEMPORARY_REDIRECT, [("location", "/elsewhere")]).into_response()
        }
        Reaction::Silence => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            StatusCode::OK.into_response()
        }
    }
}

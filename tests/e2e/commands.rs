//! Commands over every wire: decided once, answered with the decision, and told to whom it concerns.

use std::io;
use std::net::SocketAddr;

use serde_json::{Value as Json, json};

use crate::checker::History;
use crate::clients::http::{Answer, Request, encode};
use crate::clients::socketio::SocketIo;
use crate::clients::token::token;
use crate::harness::TENANT;

mod active_calls;
mod conversations;
mod faults;
mod questions;
mod races;
mod voice;

fn client(history: &History, name: &str, role: &str) -> SocketIo {
    let own = format!("user:{name}");
    let of_role: &[&str] = match role {
        "admin" => &["admin", "team"],
        "agent" => &["team"],
        _ => &[],
    };
    let automatic: Vec<&str> =
        of_role.iter().copied().chain(["system", "admin:broadcast", &own]).collect();
    SocketIo::new(history, name, &token(TENANT, name, role), &automatic)
}

fn websocket() -> Json {
    json!({ "transports": ["websocket"] })
}

/// `POST /v1/commands` as this user.
pub(crate) async fn post(to: SocketAddr, who: (&str, &str), command: &Json) -> Answer {
    try_post(to, who, command).await.unwrap()
}

async fn try_post(to: SocketAddr, who: (&str, &str), command: &Json) -> io::Result<Answer> {
    let (user, role) = who;
    let request = Request::post("/v1/commands").bearer(&token(TENANT, user, role));
    request.json(command).send(to).await
}

/// What a channel holds, as an admin sees it: the types of its events, in order, with their data.
pub(crate) async fn log_of(gateway: SocketAddr, channel: &str) -> Vec<(String, Json)> {
    let target = format!("/v1/history?channel={}&limit=1000", encode(channel));
    let request = Request::get(&target).bearer(&token(TENANT, "judge", "admin"));
    let page = request.send(gateway).await.unwrap().json();
    let event = |event: &Json| {
        (event["type"].as_str().unwrap_or_default().to_owned(), event["data"].clone())
    };
    page["events"].as_array().unwrap_or_else(|| panic!("{page}")).iter().map(event).collect()
}

fn count(log: &[(String, Json)], kind: &str) -> usize {
    log.iter().filter(|(of, _)| of == kind).count()
}

//! The WebSocket wire with nothing behind it: every message goes back. It is for Autobahn's suite, which tests frames;
//! the upgrade, the reader and the socket are those of `/ws`.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use runtime::tasks::Connections;

use super::io::{Happened, Socket};
use super::{accept_key, switching_protocols, upgraded};
use crate::wires::websocket_frame::{Limits, Message, Opcode, close_frame, frame};

/// The suite's longest message has 16 MiB.
const LIMITS: Limits = Limits { text: 16 << 20, binary: 16 << 20 };

/// At `path`. Sockets run as `connections`.
pub fn echo(path: &str, connections: Connections) -> Router {
    Router::new().route(path, get(upgrade)).with_state(connections)
}

async fn upgrade(State(connections): State<Connections>, mut request: Request) -> Response {
    let Some(accept) = accept_key(request.headers()) else {
        return StatusCode::UPGRADE_REQUIRED.into_response();
    };
    let upgrading = hyper::upgrade::on(&mut request);
    connections.spawn(async move {
        if let Some(socket) = upgraded(upgrading).await {
            run(socket).await;
        }
    });
    switching_protocols(accept)
}

/// Until the client closes, breaks the protocol or is gone.
async fn run(mut socket: Socket) {
    loop {
        match socket.reader.next_message(LIMITS) {
            Ok(Some(Message::Text(text))) => {
                socket.send(frame(Opcode::Text, &[text.as_bytes()]));
            }
            Ok(Some(Message::Binary(bytes))) => socket.send(frame(Opcode::Binary, &[&bytes])),
            Ok(Some(Message::Ping(payload))) => socket.send(frame(Opcode::Pong, &[&payload])),
            Ok(Some(Message::Pong(_))) => {}
            Ok(Some(Message::Close(code))) => {
                socket.send(close_frame(code.unwrap_or(1000), ""));
                let _gone = socket.flush().await;
                return;
            }
            Ok(None) => match socket.drive().await {
                Ok(Happened::Read | Happened::Wrote) => {}
                Ok(Happened::Closed) | Err(_) => return,
            },
            Err(violation) => {
                socket.send(close_frame(violation.close_code(), ""));
                return socket.farewell(LIMITS).await;
            }
        }
    }
}

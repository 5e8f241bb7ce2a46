//! Black-box clients, speaking what the contract says over plain sockets and recording what they see.
//! They share no code with the services.

pub(crate) mod chromium;
pub(crate) mod events;
pub(crate) mod http;
pub(crate) mod pages;
pub(crate) mod publisher;
pub(crate) mod scripts;
pub(crate) mod signatures;
pub(crate) mod socketio;
pub(crate) mod sse;
pub(crate) mod sse_text;
pub(crate) mod token;
pub(crate) mod websocket;

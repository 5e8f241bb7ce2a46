//! The read side on a real nats-server.

mod pages;
mod quarantine;
mod restarts;
mod support;

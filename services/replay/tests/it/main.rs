//! The read side on a real nats-server.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helper cannot have fails the test"
)]

mod pages;
mod quarantine;
mod restarts;
mod support;
mod views;

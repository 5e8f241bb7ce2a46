//! Ingest against a real nats-server: every way in stores and answers after the log's acknowledgement.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what a test cannot have fails it"
)]

mod commander;
mod commands;
mod crises;
mod effects;
mod elsewhere;
mod faults;
mod harness;
mod inbox;
mod publishers;
mod webhooks;

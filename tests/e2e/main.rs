//! Black-box tests of the platform, a file per journey. Deliveries are judged by the checker alone.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::large_futures,
    reason = "the whole crate is a test"
)]

mod administrators;
mod ai;
mod authorisation;
mod browser;
mod catalogue;
mod chaos;
mod checker;
mod clients;
mod commands;
mod compatibility;
mod contacts;
mod crisis;
mod critical;
mod cursors;
mod cuts;
mod documents;
mod erasure;
mod explorer;
mod faults;
mod gaps;
mod harness;
mod joins;
mod kills;
mod limits;
mod management;
mod nats_publishers;
mod planted;
mod presence;
mod protocol;
mod publications;
mod recovery;
mod refusals;
mod safety;
mod shutdown;
mod slow_reader;
mod socketio;
mod storms;
mod takeover;
mod tracing;
mod trpc;
mod two_gateways;
mod typing;
mod views;
mod webhooks;

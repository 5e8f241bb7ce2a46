//! The runtime's contract with a real nats-server and real sockets.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking, as the tests themselves do, and say what they measured"
)]

mod http_edge;
mod nats_faults;
mod nats_log;
mod nats_services;
mod nats_work;
mod reload;
mod schedules;
mod vault;

//! Ingest against a real nats-server: every way in stores and answers after the log's acknowledgement.

mod faults;
mod harness;
mod inbox;
mod publishers;
mod webhooks;

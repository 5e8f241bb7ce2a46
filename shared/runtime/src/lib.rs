//! What every service needs of the world: NATS with its streams, durables and buckets, HTTP, who somebody is, the
//! configuration, keys, tasks and telemetry. The only crate that names the NATS client; it must not know any service.

pub mod auth;
pub mod catalogue;
pub mod clock;
pub mod config;
pub mod health;
pub mod http;
pub mod ids;
pub mod metrics;
pub mod ops;
pub mod tasks;
pub mod telemetry;

pub mod durable;
pub mod event_log;
pub mod follow;
pub mod kv;
pub mod log_message;
pub mod log_reader;
pub mod messaging;
pub mod nats;
pub mod nats_binary;
pub mod nats_server;
pub mod object_store;
pub mod provision;
pub mod requests;
pub mod schedules;
pub mod test_support;
pub use log_message::LogMessage;
pub mod http_client;
pub mod tls;
pub mod vault;

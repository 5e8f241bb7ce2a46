//! runtime

pub mod clock;
pub mod config;
pub mod http;
pub mod ids;
pub mod metrics;
pub mod ops;
pub mod tasks;
pub mod telemetry;

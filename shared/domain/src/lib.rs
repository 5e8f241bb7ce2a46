//! The pure core of Throughline: events, subjects, channels, positions, cursors, the catalogue and provider mappers.
//!
//! Nothing here does I/O, reads a clock or makes randomness; the manifest lists nothing that could.

pub mod activity;
pub mod aggregate;
pub mod aggregates;
pub mod asyncapi;
pub mod call_status;
pub mod catalogue;
pub mod channel;
pub mod command;
pub mod cursor;
pub mod envelope;
pub mod escalation;
pub mod identity;
pub mod owned_id;
pub mod position;
pub mod protection;
pub mod providers;
pub mod replay;
pub mod safety;
pub mod settings_file;
pub mod severity;
pub mod signatures;
pub mod stream;
pub mod subject;
pub mod token;
pub mod views;

pub use channel::Channel;
pub use command::Command;
pub use envelope::Envelope;
pub use identity::{Identity, Role};
pub use position::Position;
pub use stream::StreamId;
pub use subject::{Address, Subject};
pub use token::{EntityToken, Tenant, Token};

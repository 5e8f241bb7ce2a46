//! The delivery checker: judges a recorded history against what the contract promises.
//! It knows clients, channels, cursors as opaque strings, and what publishers were told; nothing of the services' code.

mod book;
mod closing;
mod follower;
mod history;
mod judge;
#[cfg(test)]
mod tests;
mod value;
mod verdict;

pub(crate) use history::{ClientName, Entry, Frame, History, Start};
pub(crate) use value::{Value, hash};
pub(crate) use verdict::{Place, Verdict};

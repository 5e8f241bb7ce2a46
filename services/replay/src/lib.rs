//! The read side: answers where events stand in the log and gives operators what was quarantined.

pub mod index;

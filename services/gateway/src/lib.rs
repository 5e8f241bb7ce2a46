//! The gateway: the only client-facing origin. It authenticates, authorises, speaks the wires, holds cursors,
//! delivers and collects acknowledgements.

pub mod entry;
pub mod session;
pub mod tail;
pub mod wires;

//! The HTTP edge that every service shares: listeners, the accept loop, upgrades, problems, request ids, origins.
//! It must not know any route.

mod accept;
mod admission;
mod body;
mod listen;
mod origins;
mod problem;
mod requests;
#[cfg(test)]
mod tests;
mod upgrade;

pub use accept::{READ_BUFFER_BYTES, ServeError, ServeOptions, serve};
pub use admission::Peer;
pub use body::read_body;
pub use listen::{BindError, bind, bind_one};
pub use origins::Origins;
pub(crate) use origins::is_localhost;
pub use problem::Problem;
pub use requests::{Edge, RequestId, edge};
pub use upgrade::{NotRaw, RawStream, into_raw};

//! Configuration from named strings: the environment, or a map in tests.
//! Every mistake is collected and told together; the modules that use the values never see the environment.

mod files;
mod mistakes;
mod platform_keys;
mod reader;
mod secret;
mod strings;
#[cfg(test)]
mod tests;
mod variables;

pub use files::{on_hangup, toml_files};
pub use mistakes::{EXIT_CODE, Mistakes, refuse};
pub use platform_keys::PlatformKeys;
pub use reader::Reader;
pub use secret::Secret;
pub use strings::{Environment, Overlay, Strings};
pub use variables::*;

//! The program as a person runs it, with a real nats-server.

#[cfg(test)]
mod commands;
#[cfg(test)]
mod program;
#[cfg(test)]
mod up;

//! The service against a real nats-server.

#[cfg(test)]
mod presence;

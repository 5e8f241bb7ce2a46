//! The runtime's contract with a real nats-server and real sockets.

mod http_edge;
mod nats_faults;
mod nats_log;

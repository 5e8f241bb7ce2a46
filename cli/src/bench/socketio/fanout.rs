//! One channel, many Socket.IO clients, events as fast as they can be published.

use tokio::task::JoinSet;

use super::server::Server;
use super::{BEGIN, connect};
use crate::bench::told;
use crate::failure::Failure;

const BUFFER: usize = 64 * 1024;

/// Processor seconds of the process that holds the clients.
pub(crate) async fn measure(
    server: &mut Server,
    clients: usize,
    events: usize,
) -> Result<f64, Failure> {
    let all = connect(server, clients, BUFFER).await?;
    let before = server.cpu();
    let mut readers = JoinSet::new();
    for mut client in all {
        readers.spawn(async move {
            let mut count = 0;
            let mut is_open = true;
            while is_open && count < events {
                let each = |packet: &[u8]| {
                    count += usize::from(packet.starts_with(BEGIN.as_bytes()));
                };
                is_open = client.read(each).await?;
            }
            if is_open { Ok(()) } else { Err(std::io::Error::other("closed by the server")) }
        });
    }
    server.publish("fanout", events).await?;
    while let Some(read) = readers.join_next().await {
        read.map_err(|error| Failure::failed("a client", error))?.map_err(told)?;
    }
    Ok(server.cpu() - before)
}

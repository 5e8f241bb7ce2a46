//! Everybody's connection is cut, events are missed, everybody comes back with what the stock client keeps.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::client::{Client, Memory};
use super::server::Server;
use super::{BEGIN, connect};
use crate::bench::told;
use crate::failure::Failure;

/// Nothing more comes after so long.
const QUIET: Duration = Duration::from_secs(10);
const BUFFER: usize = 16 * 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The connections end.
    Link,
    /// The process that holds them is killed, and another takes its place.
    Kill,
    /// The connections stand, and nobody is behind them.
    HalfOpen,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) recovered: usize,
    /// Different events that came, of all clients.
    pub(crate) events: usize,
    pub(crate) repeated: usize,
    pub(crate) seconds: f64,
}

/// `None` where the server cannot be cut like that.
pub(crate) async fn measure(
    server: &mut Server,
    cut: Cut,
    run: &str,
    clients: usize,
    missed: usize,
) -> Result<Option<Outcome>, Failure> {
    let mut all = connect(server, clients, BUFFER).await?;
    server.publish(&format!("{run}-first"), 1).await?;
    for client in &mut all {
        client.wait(BEGIN).await.map_err(told)?;
    }
    let memories: Vec<Memory> = all.iter().map(|client| client.memory.clone()).collect();
    let standing = (cut == Cut::HalfOpen).then_some(all);
    if cut == Cut::Kill && !server.kill().await? {
        return Ok(None);
    }
    server.publish(run, missed).await?;
    if cut == Cut::Kill {
        server.restart().await?;
    }
    let outcome = all_back(server.address(), &server.token(), memories, missed).await?;
    drop(standing);
    Ok(Some(outcome))
}

async fn all_back(
    address: SocketAddr,
    token: &str,
    memories: Vec<Memory>,
    missed: usize,
) -> Result<Outcome, Failure> {
    let started = Instant::now();
    let mut clients = JoinSet::new();
    for memory in memories {
        let token = token.to_owned();
        clients.spawn(async move { back(address, &token, &memory, missed).await });
    }
    let mut outcome = Outcome::default();
    while let Some(done) = clients.join_next().await {
        let (is_recovered, events, repeated, at) =
            done.map_err(|error| Failure::failed("a client", error))?.map_err(told)?;
        outcome.recovered += usize::from(is_recovered);
        outcome.events += events;
        outcome.repeated += repeated;
        outcome.seconds = outcome.seconds.max((at - started).as_secs_f64());
    }
    Ok(outcome)
}

/// Whether it was recovered, the different events that came, those that came again, and when it had the last.
async fn back(
    address: SocketAddr,
    token: &str,
    memory: &Memory,
    missed: usize,
) -> std::io::Result<(bool, usize, usize, Instant)> {
    let mut client = Client::open(address, token, memory, BUFFER).await?;
    let mut at = Instant::now();
    let (mut seen, mut repeated) = (HashSet::new(), 0);
    while client.is_recovered && seen.len() < missed {
        let reading = client.read(|packet| {
            if packet.starts_with(BEGIN.as_bytes()) {
                repeated += usize::from(!seen.insert(call_of(packet)));
            }
        });
        let Ok(is_open) = timeout(QUIET, reading).await else { break };
        if !is_open? {
            break;
        }
        at = Instant::now();
    }
    Ok((client.is_recovered, seen.len(), repeated, at))
}

/// What tells one event of a series from the others: the end of its `callSid`.
fn call_of(packet: &[u8]) -> u64 {
    const MARK: &[u8] = b"\"callSid\":\"CA";
    let begin = packet.windows(MARK.len()).position(|window| window == MARK);
    let sid = begin.and_then(|at| packet.get(at + MARK.len()..at + MARK.len() + 32));
    let sid = sid.and_then(|sid| std::str::from_utf8(sid).ok());
    sid.and_then(|sid| u64::from_str_radix(&sid[16..], 16).ok()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_a_series_are_told_apart_wherever_the_field_stands() {
        let (_, data) = crate::bench::publisher::call(12_345);
        assert_eq!(call_of(format!("42[\"call_update\",{data},\"AQ\"]").as_bytes()), 12_345);
    }
}

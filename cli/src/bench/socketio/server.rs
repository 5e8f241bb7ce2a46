//! Who is measured: the platform, started for it, or a stock server that somebody has started.

use std::net::SocketAddr;

use domain::Role;

use super::client::{Client, Memory};
use crate::bench::platform::Platform;
use crate::bench::process::cpu_seconds;
use crate::bench::publisher::{call, publish};
use crate::bench::told;
use crate::failure::Failure;

const BUFFER: usize = 4 * 1024;

pub(crate) enum Server {
    Ours { platform: Box<Platform>, token: String, publisher: String },
    Peer { address: SocketAddr, pid: u32, control: Box<Client> },
}

impl Server {
    pub(crate) async fn ours() -> Result<Self, Failure> {
        let platform = Box::new(Platform::start().await?);
        let (token, publisher) = (platform.token(Role::Agent)?, platform.token(Role::Service)?);
        Ok(Self::Ours { platform, token, publisher })
    }

    pub(crate) async fn peer(address: SocketAddr, pid: u32) -> Result<Self, Failure> {
        let control = Client::open(address, "", &Memory::default(), BUFFER).await.map_err(told)?;
        Ok(Self::Peer { address, pid, control: Box::new(control) })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Ours { platform, .. } => platform.gateway,
            Self::Peer { address, .. } => *address,
        }
    }

    pub(crate) fn token(&self) -> String {
        match self {
            Self::Ours { token, .. } => token.clone(),
            Self::Peer { .. } => String::new(),
        }
    }

    /// Processor time that the process which holds the clients has used so far.
    pub(crate) fn cpu(&self) -> f64 {
        match self {
            Self::Ours { platform, .. } => platform.cpu_of("gateway"),
            Self::Peer { pid, .. } => cpu_seconds(*pid),
        }
    }

    /// Calls' changes to everybody in `calls`; `run` tells one series from the others. All are sent when this returns.
    pub(crate) async fn publish(&mut self, run: &str, count: usize) -> Result<(), Failure> {
        match self {
            Self::Ours { platform, publisher, .. } => {
                publish(platform.ingest, publisher, run, count, call).await
            }
            Self::Peer { control, .. } => by_control(control, count).await.map_err(told),
        }
    }

    /// Kills the process that holds the clients; `false` for one that is somebody else's to start again.
    pub(crate) async fn kill(&mut self) -> Result<bool, Failure> {
        let Self::Ours { platform, .. } = self else { return Ok(false) };
        platform.kill("gateway").await?;
        Ok(true)
    }

    pub(crate) async fn restart(&mut self) -> Result<(), Failure> {
        let Self::Ours { platform, .. } = self else { return Ok(()) };
        platform.restart("gateway").await
    }

    pub(crate) async fn stop(self) {
        if let Self::Ours { platform, .. } = self {
            platform.stop().await;
        }
    }
}

/// The last one's callback says that the server has taken all.
async fn by_control(control: &mut Client, count: usize) -> std::io::Result<()> {
    for number in 0..count {
        let (_, data) = call(number);
        let id = if number + 1 == count { "0" } else { "" };
        control.send(&format!("42{id}[\"publish\",\"calls\",\"call_update\",{data}]")).await?;
    }
    control.wait("430").await.map(drop)
}

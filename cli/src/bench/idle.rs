//! Memory of connections that do nothing: resident bytes of the gateway per connection, bare and with channels.

use std::net::SocketAddr;
use std::time::Duration;

use domain::Role;

use crate::bench::platform::Platform;
use crate::bench::process::resident_bytes;
use crate::bench::report::{Goal, Report};
use crate::bench::socket::Socket;
use crate::bench::socketio::client::{Client as SocketIo, Memory};
use crate::bench::{float, told};
use crate::failure::Failure;

/// Connections before the first look, so that what the process sets up once is not counted.
const WARM_UP: usize = 200;
const SETTLE: Duration = Duration::from_secs(3);
/// What this side reads at once is nothing here.
const BUFFER: usize = 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Connections
    #[arg(long, default_value_t = 10_000)]
    clients: usize,
    /// Channels that each joins in the second part
    #[arg(long, default_value_t = 5)]
    channels: usize,
    /// What they speak; clients of Socket.IO answer no pings here, so set HEARTBEAT_MS above the time that it takes
    #[arg(long, value_enum, default_value_t = Wire::Websocket)]
    wire: Wire,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Wire {
    Websocket,
    Socketio,
}

/// A connection of either wire.
enum Client {
    WebSocket(Socket),
    SocketIo(Box<SocketIo>),
}

impl Client {
    async fn open(wire: Wire, gateway: SocketAddr, token: &str) -> std::io::Result<Self> {
        if wire == Wire::Socketio {
            let client = SocketIo::open(gateway, token, &Memory::default(), BUFFER).await?;
            return Ok(Self::SocketIo(Box::new(client)));
        }
        let mut socket = Socket::open(gateway, &format!("/ws?token={token}"), BUFFER).await?;
        // Its first message says that the server is done with it.
        socket.read(|_| {}).await?;
        Ok(Self::WebSocket(socket))
    }

    async fn join(&mut self, channel: &str) -> std::io::Result<()> {
        match self {
            Self::WebSocket(socket) => socket.join(channel, None).await,
            Self::SocketIo(client) => client.join(channel).await,
        }
    }
}

pub(crate) async fn run(options: Options) -> Result<Report, Failure> {
    let platform = Platform::start().await?;
    let pid = platform.pid("gateway").unwrap_or_default();
    let token = platform.token(Role::Agent)?;
    let mut sockets = Vec::with_capacity(options.clients + WARM_UP);
    connect(&platform, options.wire, &token, WARM_UP, &mut sockets).await?;
    tokio::time::sleep(SETTLE).await;
    let empty = resident_bytes(pid);
    connect(&platform, options.wire, &token, options.clients, &mut sockets).await?;
    tokio::time::sleep(SETTLE).await;
    let bare = (resident_bytes(pid) - empty) / float(options.clients);
    for (number, socket) in sockets.iter_mut().skip(WARM_UP).enumerate() {
        for channel in 0..options.channels {
            let room = format!("campaign:idle-{}", (number + channel * 37) % 1_000);
            socket.join(&room).await.map_err(told)?;
        }
    }
    tokio::time::sleep(SETTLE).await;
    let joined = (resident_bytes(pid) - empty) / float(options.clients);
    let before = platform.cpu_of("gateway");
    tokio::time::sleep(SETTLE).await;
    let idle = (platform.cpu_of("gateway") - before) / SETTLE.as_secs_f64();
    platform.stop().await;
    let mut report = Report::new("idle connections");
    report.add("connections", float(options.clients), "");
    report.goal("resident per connection", bare / 1024.0, "KiB", Goal::AtMost(8.0));
    report.goal("the same in its channels", joined / 1024.0, "KiB", Goal::AtMost(10.0));
    report.add("gateway, everybody idle", idle * 100.0, "% of a core");
    Ok(report)
}

async fn connect(
    platform: &Platform,
    wire: Wire,
    token: &str,
    count: usize,
    sockets: &mut Vec<Client>,
) -> Result<(), Failure> {
    for _ in 0..count {
        sockets.push(Client::open(wire, platform.gateway, token).await.map_err(told)?);
    }
    Ok(())
}

//! Why a session ends, in the words of Socket.IO. In every case the client sees its transport close and reconnects:
//! a server that sent a namespace's DISCONNECT would keep it away.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closing {
    TransportError,
    TransportClose,
    ForcedClose,
    PingTimeout,
    ParseError,
    ServerShuttingDown,
    ForcedServerClose,
    /// It went on sending although it was refused many times.
    RateLimited,
}

impl Closing {
    /// Whether nothing was wrong with what the client did.
    pub(super) const fn is_decided_by_server(self) -> bool {
        matches!(self, Self::ForcedClose | Self::ServerShuttingDown | Self::ForcedServerClose)
    }

    pub const fn reason(self) -> &'static str {
        match self {
            Self::TransportError => "transport error",
            Self::TransportClose => "transport close",
            Self::ForcedClose => "forced close",
            Self::PingTimeout => "ping timeout",
            Self::ParseError => "parse error",
            Self::ServerShuttingDown => "server shutting down",
            Self::ForcedServerClose => "forced server close",
            Self::RateLimited => "rate limited",
        }
    }
}

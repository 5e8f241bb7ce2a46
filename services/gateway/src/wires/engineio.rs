//! Engine.IO v4: packets as text, the payload of a long poll, and the words of a refused request.
//! Pure; it knows neither sockets nor what the messages say.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::json;

mod payload;
#[cfg(test)]
mod tests;

pub(crate) use payload::poll_payload;

/// Joins the packets of a payload.
const SEPARATOR: char = '\u{1e}';
/// What follows a ping and its pong while a transport is tried out.
pub(crate) const PROBE: &str = "probe";

/// A packet without a message, as it stands in a text frame or a payload.
pub(crate) const CLOSE: &str = "1";
pub(crate) const PING: &str = "2";
pub(crate) const PONG_PROBE: &str = "3probe";
pub(crate) const NOOP: &str = "6";

/// What an Engine.IO connection carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    Text(String),
    Binary(Bytes),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Packet {
    Open,
    Close,
    Ping(String),
    Pong,
    Message(Message),
    Upgrade,
    Noop,
}

/// What was sent is no packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not an Engine.IO packet")]
pub(crate) struct Malformed;

impl Packet {
    /// Reads a text frame, or a part of a payload that is not binary.
    pub(crate) fn decode(mut text: String) -> Result<Self, Malformed> {
        let kind = *text.as_bytes().first().ok_or(Malformed)?;
        if !kind.is_ascii_digit() {
            return Err(Malformed);
        }
        text.remove(0);
        Ok(match kind {
            b'0' => Self::Open,
            b'1' => Self::Close,
            b'2' => Self::Ping(text),
            b'3' => Self::Pong,
            b'4' => Self::Message(Message::Text(text)),
            b'5' => Self::Upgrade,
            b'6' => Self::Noop,
            _ => return Err(Malformed),
        })
    }

    fn decode_part(part: &str) -> Result<Self, Malformed> {
        match part.strip_prefix('b') {
            Some(encoded) => {
                let bytes = STANDARD.decode(encoded).map_err(|_| Malformed)?;
                Ok(Self::Message(Message::Binary(bytes.into())))
            }
            None => Self::decode(part.to_owned()),
        }
    }
}

/// The packets of a posted payload, one by one, so that a payload of many small ones needs no more memory than itself.
pub(crate) fn packets(payload: &str) -> impl Iterator<Item = Result<Packet, Malformed>> + Send {
    payload.split(SEPARATOR).map(Packet::decode_part)
}

/// What the open packet tells the client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub ping_interval_ms: u64,
    pub ping_timeout_ms: u64,
    pub max_payload: usize,
}

/// The first packet of a session. A session that began by polling is offered the upgrade.
pub(crate) fn open(sid: &str, may_upgrade: bool, terms: Terms) -> String {
    let upgrades: &[&str] = if may_upgrade { &["websocket"] } else { &[] };
    let handshake = json!({
        "sid": sid,
        "upgrades": upgrades,
        "pingInterval": terms.ping_interval_ms,
        "pingTimeout": terms.ping_timeout_ms,
        "maxPayload": terms.max_payload,
    });
    format!("0{handshake}")
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Transport {
    Polling,
    WebSocket,
}

/// A request that is refused. Clients read the number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    UnknownTransport,
    UnknownSession,
    BadHandshakeMethod,
    BadRequest,
    Forbidden,
    UnsupportedProtocol,
}

impl Refusal {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::UnknownTransport => 0,
            Self::UnknownSession => 1,
            Self::BadHandshakeMethod => 2,
            Self::BadRequest => 3,
            Self::Forbidden => 4,
            Self::UnsupportedProtocol => 5,
        }
    }

    const fn message(self) -> &'static str {
        match self {
            Self::UnknownTransport => "Transport unknown",
            Self::UnknownSession => "Session ID unknown",
            Self::BadHandshakeMethod => "Bad handshake method",
            Self::BadRequest => "Bad request",
            Self::Forbidden => "Forbidden",
            Self::UnsupportedProtocol => "Unsupported protocol version",
        }
    }

    pub(crate) fn body(self) -> String {
        json!({ "code": self.code(), "message": self.message() }).to_string()
    }
}

/// What a request asks for by its address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Asked {
    pub transport: Transport,
    /// `None` opens a session.
    pub sid: Option<String>,
}

impl Asked {
    /// Reads the query's fields; `is_get` and `is_upgrade` tell the rest of the request.
    pub(crate) fn read(
        field: impl Fn(&str) -> Option<String>,
        is_get: bool,
        is_upgrade: bool,
    ) -> Result<Self, Refusal> {
        let transport = match field("transport").as_deref() {
            Some("polling") => Transport::Polling,
            Some("websocket") => Transport::WebSocket,
            _ => return Err(Refusal::UnknownTransport),
        };
        let sid = field("sid");
        if sid.is_none() {
            if !is_get {
                return Err(Refusal::BadHandshakeMethod);
            }
            if field("EIO").as_deref() != Some("4") {
                return Err(Refusal::UnsupportedProtocol);
            }
        }
        if (transport == Transport::WebSocket) != is_upgrade {
            return Err(Refusal::BadRequest);
        }
        Ok(Self { transport, sid })
    }
}

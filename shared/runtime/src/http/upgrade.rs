//! From an upgraded HTTP connection to the socket beneath it, so that long-lived connections keep no HTTP buffers.

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::downcast;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// The socket, and what the HTTP side had already read from it.
#[derive(Debug)]
pub enum RawStream {
    Plain(TcpStream, Bytes),
    Tls(Box<TlsStream<TcpStream>>, Bytes),
}

/// The upgrade runs inside an HTTP/2 stream, which has no socket of its own.
#[derive(Debug, thiserror::Error)]
#[error("the upgraded connection is not a socket of its own")]
pub struct NotRaw;

pub fn into_raw(upgraded: Upgraded) -> Result<RawStream, NotRaw> {
    let upgraded = match downcast::<TokioIo<TcpStream>>(upgraded) {
        Ok(parts) => return Ok(RawStream::Plain(parts.io.into_inner(), parts.read_buf)),
        Err(upgraded) => upgraded,
    };
    match downcast::<TokioIo<Box<TlsStream<TcpStream>>>>(upgraded) {
        Ok(parts) => Ok(RawStream::Tls(parts.io.into_inner(), parts.read_buf)),
        Err(_) => Err(NotRaw),
    }
}

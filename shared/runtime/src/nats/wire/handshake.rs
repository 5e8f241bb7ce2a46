//! The first words between a server and a client: who the server is, TLS where it is wanted, and who we are.

use std::sync::Arc;

use async_nats::{ServerAddr, ServerInfo};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::BytesMut;
use rustls_pki_types::ServerName;
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::protocol::{self, Malformed, Said};
use super::{Socket, Wire, WireError};
use crate::nats::Credentials;
use crate::nats::credentials::sign;
use crate::nats::servers::Servers;

/// What `CONNECT` says.
#[derive(Serialize)]
struct Hello<'a> {
    verbose: bool,
    pedantic: bool,
    tls_required: bool,
    name: &'a str,
    lang: &'static str,
    version: &'static str,
    protocol: u8,
    headers: bool,
    no_responders: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pass: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nkey: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sig: Option<String>,
}

/// Returns once the server has taken who we are.
pub(super) async fn open(
    servers: &Servers,
    address: &ServerAddr,
    purpose: &str,
) -> Result<Wire, WireError> {
    let tcp = TcpStream::connect((address.host(), address.port())).await;
    let mut socket = tcp.map_err(WireError::Ended)?;
    socket.set_nodelay(true).map_err(WireError::Ended)?;
    let mut received = BytesMut::new();
    let info = info(&mut socket, &mut received).await?;
    let is_secret = address.tls_required() || info.tls_required;
    let socket: Box<dyn Socket> =
        if is_secret { Box::new(encrypted(socket, address).await?) } else { Box::new(socket) };
    let mut wire = Wire::on(socket, received);
    let name = format!("{}-{purpose}", servers.service());
    let mut hello = Hello::anonymous(&name, is_secret);
    hello.prove(servers.credentials(), &info.nonce)?;
    let hello = serde_json::to_string(&hello).map_err(|error| WireError::Ended(error.into()))?;
    wire.write(format!("CONNECT {hello}\r\nPING\r\n").as_bytes());
    match wire.next_or_pong().await? {
        None => Ok(wire),
        Some(_) => Err(Malformed.into()),
    }
}

async fn info(socket: &mut TcpStream, received: &mut BytesMut) -> Result<ServerInfo, WireError> {
    loop {
        match protocol::take(received)? {
            Some(Said::Info(info)) => {
                return serde_json::from_slice(&info).map_err(|_| Malformed.into());
            }
            Some(_) => return Err(Malformed.into()),
            None => {}
        }
        if socket.read_buf(received).await.map_err(WireError::Ended)? == 0 {
            return Err(WireError::Ended(std::io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

async fn encrypted(
    socket: TcpStream,
    address: &ServerAddr,
) -> Result<impl Socket + use<>, WireError> {
    let config = crate::http_client::native_tls()
        .map_err(|error| WireError::Ended(std::io::Error::other(error)))?;
    let name = ServerName::try_from(address.host().to_owned())
        .map_err(|error| WireError::Ended(std::io::Error::other(error)))?;
    let mut socket = TlsConnector::from(Arc::new(config))
        .connect(name, socket)
        .await
        .map_err(WireError::Ended)?;
    socket.flush().await.map_err(WireError::Ended)?;
    Ok(socket)
}

impl<'a> Hello<'a> {
    fn anonymous(name: &'a str, tls_required: bool) -> Self {
        Self {
            verbose: false,
            pedantic: false,
            tls_required,
            name,
            lang: "rust",
            version: env!("CARGO_PKG_VERSION"),
            protocol: 1,
            headers: true,
            no_responders: true,
            user: None,
            pass: None,
            nkey: None,
            jwt: None,
            sig: None,
        }
    }

    fn prove(
        &mut self,
        credentials: Option<&'a Credentials>,
        nonce: &str,
    ) -> Result<(), WireError> {
        let signed = |seed| sign(seed, nonce.as_bytes()).map_err(|_| WireError::Refused);
        match credentials {
            None => {}
            Some(Credentials::Password { user, password }) => {
                (self.user, self.pass) = (Some(user.as_str()), Some(password.as_str()));
            }
            Some(Credentials::Seed(seed)) => {
                let pair = nkeys::KeyPair::from_seed(seed).map_err(|_| WireError::Refused)?;
                self.nkey = Some(pair.public_key());
                self.sig = Some(URL_SAFE_NO_PAD.encode(signed(seed)?));
            }
            Some(Credentials::File { jwt, seed }) => {
                self.jwt = Some(jwt);
                self.sig = Some(URL_SAFE_NO_PAD.encode(signed(seed)?));
            }
        }
        Ok(())
    }
}

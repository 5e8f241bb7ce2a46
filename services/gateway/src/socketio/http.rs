//! The requests of Engine.IO: handshakes, polls, posts and WebSockets, each handed to its session.

use std::pin::Pin;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use runtime::auth::Credentials;
use runtime::http::{Peer, read_body};
use runtime::ids;
use runtime::tasks::Connections;
use tracing::debug;

use super::engine::Engine;
use super::sessions::{Command, Sessions, Waiting};
use super::{Applications, Closing, Handshake, Options};
use crate::socket::io::Socket;
use crate::socket::{accept_key, switching_protocols, upgraded};
use crate::wires::engineio::{self, Asked, Refusal, Terms, Transport};

#[derive(Clone)]
pub(super) struct Server<A> {
    options: Options,
    applications: A,
    connections: Connections,
    sessions: Sessions,
}

impl<A> Server<A> {
    pub(super) fn new(options: Options, applications: A, connections: Connections) -> Self {
        Self { options, applications, connections, sessions: Sessions::default() }
    }
}

pub(super) async fn handle<A: Applications>(
    State(server): State<Server<A>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    let accept = accept_key(request.headers());
    let query = request.uri().query().unwrap_or_default();
    let asked =
        Asked::read(|name| field(query, name), *request.method() == Method::GET, accept.is_some());
    let answered = match (asked, accept) {
        (Err(refusal), _) => Err(refusal),
        (Ok(Asked { transport: Transport::WebSocket, sid }), Some(accept)) => {
            server.websocket(request, accept, sid, peer)
        }
        (Ok(Asked { sid: Some(sid), .. }), _) => server.request(&sid, request).await,
        (Ok(Asked { sid: None, .. }), _) => Ok(server.handshake(&request, peer)),
    };
    answered.unwrap_or_else(refuse)
}

impl<A: Applications> Server<A> {
    /// Opens a session that polls.
    fn handshake(&self, request: &Request, peer: Peer) -> Response {
        if self.connections.is_draining() {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        let most = self.options.waiting_per_address;
        let Some(waiting) = self.sessions.wait(peer.address.ip(), most) else {
            debug!("too many sessions of one address without a credential");
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        };
        let place = self.sessions.open();
        let open = engineio::open(&place.sid, true, self.terms());
        let application = self.applications.open(handshake(request, peer, Some(waiting)));
        let engine = Engine::polling(application, self.options, place);
        self.connections.spawn(Box::pin(engine.run()));
        packets(open.into())
    }

    async fn request(&self, sid: &str, request: Request) -> Result<Response, Refusal> {
        match *request.method() {
            Method::GET => self.sessions.ask(sid, Command::Poll).await?.map(packets),
            Method::POST => self.post(sid, request).await,
            _ => Err(Refusal::BadHandshakeMethod),
        }
    }

    async fn post(&self, sid: &str, request: Request) -> Result<Response, Refusal> {
        if !self.sessions.knows(sid) {
            return Err(Refusal::UnknownSession);
        }
        let body = read_body(request.into_body(), self.options.max_payload).await;
        let body = match body.map(|body| String::from_utf8(body.into())) {
            Ok(Ok(body)) => body,
            Ok(Err(_)) => {
                self.sessions.tell(sid, Command::End(Closing::TransportError)).await?;
                return Err(Refusal::BadRequest);
            }
            Err(problem) => {
                self.sessions.tell(sid, Command::End(Closing::TransportError)).await?;
                return Ok(problem.status.into_response());
            }
        };
        self.sessions.ask(sid, |answer| Command::Post(body, answer)).await??;
        Ok(([(header::CONTENT_TYPE, "text/html"), NO_STORE], "ok").into_response())
    }

    /// A WebSocket of its own, or one that takes over from polling.
    fn websocket(
        &self,
        mut request: Request,
        accept: HeaderValue,
        sid: Option<String>,
        peer: Peer,
    ) -> Result<Response, Refusal> {
        if let Some(sid) = &sid
            && !self.sessions.knows(sid)
        {
            return Err(Refusal::UnknownSession);
        }
        if sid.is_none() && self.connections.is_draining() {
            return Ok(StatusCode::SERVICE_UNAVAILABLE.into_response());
        }
        let upgrading = hyper::upgrade::on(&mut request);
        let (server, handshake) = (self.clone(), handshake(&request, peer, None));
        self.connections.spawn(async move {
            let Some(socket) = upgraded(upgrading).await else { return };
            match sid {
                Some(sid) => {
                    let upgrade = Command::Upgrade(Box::new(socket));
                    // A session that has ended meanwhile ends the socket with it.
                    let _ended = server.sessions.tell(&sid, upgrade).await;
                }
                None => server.open_websocket(socket, handshake).await,
            }
        });
        Ok(switching_protocols(accept))
    }

    /// A session of its own. Apart from its future nothing is kept for as long as it lasts.
    fn open_websocket(
        self,
        socket: Socket,
        handshake: Handshake,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        // Nothing else may use this session, so its id is in no table.
        let open = engineio::open(&ids::unguessable(), false, self.terms());
        let application = self.applications.open(handshake);
        Box::pin(Engine::websocket(application, self.options, socket, &open).run())
    }

    fn terms(&self) -> Terms {
        Terms {
            ping_interval_ms: self.options.ping_interval.as_millis() as u64,
            ping_timeout_ms: self.options.ping_timeout.as_millis() as u64,
            max_payload: self.options.max_payload,
        }
    }
}

/// Other sites can open a WebSocket with the user's cookies, so a cookie is no credential here.
fn handshake(request: &Request, peer: Peer, waiting: Option<Waiting>) -> Handshake {
    let credentials = Credentials::of(request.headers(), request.uri().query()).without_cookies();
    Handshake { credentials, peer, waiting }
}

/// What the fields hold is plain: names, numbers and ids.
fn field(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).next()
}

const NO_STORE: (header::HeaderName, &str) = (header::CACHE_CONTROL, "no-store");

fn packets(payload: Bytes) -> Response {
    let kind = (header::CONTENT_TYPE, "text/plain; charset=UTF-8");
    ([kind, NO_STORE], Body::from(payload)).into_response()
}

fn refuse(refusal: Refusal) -> Response {
    let status = match refusal {
        Refusal::Forbidden => StatusCode::FORBIDDEN,
        _ => StatusCode::BAD_REQUEST,
    };
    let kind = (header::CONTENT_TYPE, "application/json");
    (status, [kind, NO_STORE], refusal.body()).into_response()
}

/// A page that the edge does not let in is refused in the words of Engine.IO at its path, which stock clients read.
pub(crate) async fn forbid_in_its_words(request: Request, next: Next) -> Response {
    let is_here = request.uri().path().trim_end_matches('/') == super::platform::PATH;
    let response = next.run(request).await;
    let is_forbidden = response.status() == StatusCode::FORBIDDEN;
    if is_here && is_forbidden { refuse(Refusal::Forbidden) } else { response }
}

//! From an anonymous socket to an open session: the greeting, the credential, the announcement.

use std::sync::Arc;

use domain::Channel;
use runtime::auth::{Admitted, AuthError, Credentials};
use runtime::ids;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::connection::Connection;
use super::ending::Ending;
use super::io::Happened;
use super::requests::BAD_MESSAGE;
use crate::devices::check_name;
use crate::edge::Refused;
use crate::line::GapReason;
use crate::member::{Brought, Member, Opened, position_in};
use crate::queries;
use crate::throttle::Verdict;
use crate::wires::Wire;
use crate::wires::websocket::{self, Request};
use crate::wires::websocket_frame::{Limits, Message};

const UNAUTHENTICATED: Refused = Refused::new(
    "unauthenticated",
    "Say who you are first: {\"type\":\"auth\",\"payload\":{\"token\":\"…\"}}.",
);

impl Connection {
    /// Greets, waits for a credential if none came with the request, and opens the session.
    pub(super) async fn greet(&mut self, mut brought: Brought) -> Result<(), Ending> {
        let admitted = match self.edge.auth.authenticate(&self.credentials).await {
            Ok(admitted) => Some(admitted),
            Err(AuthError::Missing) => None,
            Err(error) => return Err(self.refuse(None, &error)),
        };
        // The id of a new session; one that comes back keeps its own.
        let minted: Arc<str> = ids::unguessable().into();
        if let Some(admitted) = admitted {
            let is_guest = admitted.identity.is_anonymous();
            let opened = self.open(admitted, minted, &brought).await?;
            if is_guest {
                self.establish(who(&opened.member), false);
                // Where it was is the guest's; its successor names its own position.
                self.guest = Some(Box::new(Brought { cursor: None, ..brought }));
            } else {
                self.establish(json!({ "clientId": &*opened.member.client_id }), true);
            }
            self.announce(opened, None);
            return Ok(());
        }
        self.establish(json!({ "clientId": &*minted }), false);
        let (admitted, request) = self.await_auth(&mut brought).await?;
        let opened = self.open(admitted, minted, &brought).await?;
        self.announce(opened, request.reference.as_ref());
        Ok(())
    }

    fn establish(&mut self, mut greeting: Value, is_authenticated: bool) {
        greeting["authenticated"] = is_authenticated.into();
        greeting["heartbeatMs"] = (self.edge.limits.heartbeat.as_millis() as u64).into();
        self.send("connection_established", &greeting);
    }

    async fn open(
        &mut self,
        admitted: Admitted,
        minted: Arc<str>,
        brought: &Brought,
    ) -> Result<Opened, Ending> {
        self.peer.authenticated();
        // A connection lives for days; the token it came with is not kept.
        self.credentials = Credentials::default();
        let opened = Member::open(&self.edge, Wire::WebSocket, admitted, minted, brought).await;
        opened.map_err(Ending::lost)
    }

    fn refuse(&mut self, reference: Option<&Value>, error: &AuthError) -> Ending {
        self.queue(websocket::error(reference, error.code(), error.seed_message()));
        Ending::refused(error)
    }

    /// A guest says who it is: a session of its own begins in place of the guest's and goes on in the guest's rooms.
    pub(super) async fn introduce(
        &mut self,
        request: &Request,
    ) -> Result<Result<(), Refused>, Ending> {
        if let Err(refused) = check_name(request.field("device")) {
            return Ok(Err(refused));
        }
        let credentials =
            Credentials::default().with_token(request.text("token").unwrap_or_default());
        let admitted = match self.edge.auth.authenticate(&credentials).await {
            Ok(admitted) => admitted,
            Err(error) => return Ok(Err(Refused::new(error.code(), error.seed_message()))),
        };
        let (Some(mut guest), Some(mut brought)) = (self.member.take(), self.guest.take()) else {
            return Err(Ending::protocol());
        };
        brought_with(request, &mut brought);
        brought.client_id.take_if(|id| **id == *guest.client_id);
        let is_same_tenant = guest.identity.tenant == admitted.identity.tenant;
        let rooms = if is_same_tenant { guest.asked_for() } else { Vec::new() };
        let (client_id, cursor) = (guest.client_id.clone(), guest.line.cursor());
        let goes_on = is_same_tenant && brought.is_empty();
        if goes_on {
            // What everybody is told goes on where the guest was.
            brought.cursor = Some(cursor.clone());
        }
        guest.goodbye().await;
        // The guest has left before its successor comes: they may share the id that the client was told.
        drop(guest);
        // A ping that is on its way was about the guest's position.
        self.pinged = None;
        let mut opened = self.open(admitted, client_id, &brought).await?;
        // A user who has just come is to see how things stand.
        opened.recovered &= !goes_on;
        let mut left = Vec::new();
        for room in rooms {
            let joined = opened.member.join(room.as_str(), Some(&cursor)).await;
            if joined.map_err(Ending::lost)?.is_err() {
                left.push(room);
            }
        }
        self.announce(opened, request.reference.as_ref());
        for room in left {
            self.send("room_left", &json!({ "room": room.as_str() }));
        }
        self.reset_timer();
        Ok(Ok(()))
    }

    /// Reads until the client says who it is.
    async fn await_auth(&mut self, brought: &mut Brought) -> Result<(Admitted, Request), Ending> {
        let deadline = Instant::now() + self.edge.limits.authenticate_within;
        loop {
            if let Some(request) = self.next_request().await? {
                match check_name(request.field("device")) {
                    _ if request.kind != "auth" => self.before_auth(&request),
                    Ok(()) => return self.authenticate(request, brought).await,
                    Err(refused) => self.answer_refusal(request.reference.as_ref(), refused),
                }
                continue;
            }
            match timeout_at(deadline, self.socket.drive()).await {
                Ok(Ok(Happened::Read | Happened::Wrote)) => {}
                Ok(Ok(Happened::Closed) | Err(_)) => return Err(Ending::gone()),
                Err(_) => return Err(self.refuse(None, &AuthError::Missing)),
            }
        }
    }

    /// The next request that has arrived, answering control frames on the way.
    async fn next_request(&mut self) -> Result<Option<Request>, Ending> {
        let most = self.edge.limits.message_bytes;
        let limits = Limits { text: most, binary: most };
        loop {
            match self.socket.reader.next_message(limits) {
                Ok(Some(Message::Text(text))) => {
                    if self.throttle.take() != Verdict::Accept {
                        return Err(Ending::rate_limited());
                    }
                    match Request::parse(&text) {
                        Some(request) => return Ok(Some(request)),
                        None => self.answer_refusal(None, BAD_MESSAGE),
                    }
                }
                Ok(Some(Message::Binary(_))) => {
                    if self.throttle.take() != Verdict::Accept {
                        return Err(Ending::rate_limited());
                    }
                    self.answer_refusal(None, UNAUTHENTICATED);
                }
                Ok(Some(message)) => Box::pin(self.process(message)).await?,
                Ok(None) => return Ok(None),
                Err(violation) => return Err(Ending::violation(violation)),
            }
        }
    }

    fn before_auth(&mut self, request: &Request) {
        if request.kind == "ping" {
            return self.pong(request);
        }
        self.answer_refusal(request.reference.as_ref(), UNAUTHENTICATED);
    }

    async fn authenticate(
        &mut self,
        request: Request,
        brought: &mut Brought,
    ) -> Result<(Admitted, Request), Ending> {
        let token = request.text("token").unwrap_or_default();
        let credentials = std::mem::take(&mut self.credentials).with_token(token);
        brought_with(&request, brought);
        match self.edge.auth.authenticate(&credentials).await {
            Ok(admitted) => Ok((admitted, request)),
            Err(error) => Err(self.refuse(request.reference.as_ref(), &error)),
        }
    }

    fn announce(&mut self, opened: Opened, reference: Option<&Value>) {
        let Opened { member, is_reconnect, recovered, gap, forbidden } = opened;
        let who = who(&member);
        let reconnected = json!({
            "clientId": who["clientId"], "rooms": who["rooms"], "recovered": recovered,
        });
        if let Some(id) = reference {
            self.queue(websocket::answer(id, &who));
        }
        // A guest has shown nothing: its greeting said who it is, and its application goes by this frame.
        if !member.identity.is_anonymous() {
            self.send("authenticated", &who);
        }
        if is_reconnect {
            self.send("reconnected", &reconnected);
        }
        let mut member = Box::new(member);
        if !recovered {
            queries::open_alerts(&self.edge, &mut member, queries::SNAPSHOT);
        }
        self.member = Some(member);
        if let Some(reason) = gap {
            self.tell_gap(&[], reason);
        }
        if !forbidden.is_empty() {
            self.tell_gap(&forbidden, GapReason::Forbidden);
        }
    }
}

/// Who a client is and where it stands, in the words of `authenticated`.
pub(super) fn who(member: &Member) -> Value {
    let channels = member.channels();
    let rooms: Vec<_> = channels.iter().map(Channel::as_str).collect();
    json!({
        "clientId": &*member.client_id,
        "userId": &*member.identity.user,
        "role": member.identity.role.name(),
        "device": member.device.name,
        "rooms": rooms,
        "cursor": member.line.cursor(),
    })
}

/// What the client says in band wins over what its address said.
fn brought_with(request: &Request, brought: &mut Brought) {
    let field = |name, before: &mut Option<String>| {
        if let Some(value) = request.field(name) {
            *before = Some(value.to_owned());
        }
    };
    field("clientId", &mut brought.client_id);
    field("device", &mut brought.device);
    if let Some(cursor) = position_in(&request.payload, "cursor") {
        brought.cursor = Some(cursor);
    }
}

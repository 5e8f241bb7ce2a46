//! Who is writing to a contact, as the others who look at the contact are told.
//!
//! A gateway sends what its own clients do as an ephemeral event to all gateways, and ends it when a client falls
//! silent or goes. What arrives is told to clients only when it is news, and taken back when nobody repeats it:
//! a gateway that was killed cannot say that its people have stopped.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::catalogue::{Admitted, Defaults, Publication};
use domain::envelope::header;
use domain::{Channel, Envelope, Identity, Tenant};
use runtime::tasks::BoxError;
use runtime::{clock, ids};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::edge::{Edge, Refused, Shared};
use crate::entry::Entry;
use crate::presence::AttendantId;

mod table;

use table::{Indicators, Keyboards, Writer};

/// The type of the event.
pub(crate) const INDICATOR: &str = "typing.indicator";
/// How often is looked who has fallen silent.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Signals that wait to be sent; what does not fit is refused.
const WAITING: usize = 1_024;

const OVERLOADED: Refused =
    Refused::new("overloaded", "Too much is going on right now; try again in a moment.");

/// A cheap-clone handle.
#[derive(Clone)]
pub(crate) struct Typing {
    state: Arc<Mutex<State>>,
    signals: mpsc::Sender<Signal>,
}

struct State {
    keyboards: Keyboards,
    indicators: Indicators,
}

/// What is to be told to all gateways.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Signal {
    writer: Writer,
    is_typing: bool,
}

/// The data of the event, as far as it is looked at here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Heard {
    contact_id: String,
    whatsapp_account_id: Option<String>,
    is_typing: bool,
    user_id: String,
}

impl Typing {
    /// And what is to be sent, for [`run`].
    pub(crate) fn new(timeout: Duration) -> (Self, Signals) {
        let timeout = timeout.as_millis() as i64;
        let (signals, waiting) = mpsc::channel(WAITING);
        let state =
            State { keyboards: Keyboards::new(timeout), indicators: Indicators::new(timeout) };
        (Self { state: Arc::new(Mutex::new(state)), signals }, Signals(waiting))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client writes; to be repeated while it does.
    pub(crate) fn start(
        &self,
        identity: &Identity,
        contact: &str,
        account: Option<&str>,
        connection: AttendantId,
    ) -> Result<(), Refused> {
        let writer = writer(identity, contact, account);
        let mut state = self.lock();
        let is_news = state.keyboards.start(&writer, connection, clock::unix_millis());
        match is_news.map_err(|_| OVERLOADED)? {
            true => self.send(writer, true),
            false => Ok(()),
        }
    }

    /// The client has stopped, or sent what it wrote.
    pub(crate) fn stop(
        &self,
        identity: &Identity,
        contact: &str,
        connection: AttendantId,
    ) -> Result<(), Refused> {
        let stopped = self.lock().keyboards.stop(&writer(identity, contact, None), connection);
        stopped.map_or(Ok(()), |writer| self.send(writer, false))
    }

    /// A connection has ended.
    pub(crate) fn gone(&self, connection: AttendantId) {
        let stopped = self.lock().keyboards.gone(connection);
        for writer in stopped {
            // What cannot be said now, the receivers find out by themselves.
            let _late = self.send(writer, false);
        }
    }

    fn send(&self, writer: Writer, is_typing: bool) -> Result<(), Refused> {
        self.signals.try_send(Signal { writer, is_typing }).map_err(|_| OVERLOADED)
    }

    /// Whether an event that has arrived is news to clients here.
    pub(crate) fn is_news(&self, envelope: &Envelope) -> bool {
        let Ok(heard) = serde_json::from_slice::<Heard>(&envelope.data) else { return false };
        let writer = Writer {
            tenant: envelope.tenant.clone(),
            user: heard.user_id.into(),
            contact: heard.contact_id.into(),
            account: heard.whatsapp_account_id.map(Into::into),
        };
        self.lock().indicators.hear(writer, heard.is_typing, clock::unix_millis())
    }
}

fn writer(identity: &Identity, contact: &str, account: Option<&str>) -> Writer {
    Writer {
        tenant: identity.tenant.clone(),
        user: identity.user.clone(),
        contact: contact.into(),
        account: account.map(Into::into),
    }
}

/// What waits to be sent.
pub(crate) struct Signals(mpsc::Receiver<Signal>);

/// Sends signals, and ends those of clients and gateways that have fallen silent, until `shutdown`.
pub(crate) async fn run(
    edge: Edge,
    mut signals: Signals,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            signal = signals.0.recv() => match signal {
                Some(signal) => send(&edge, &signal).await,
                None => return Ok(()),
            },
            _ = look.tick() => {
                let now = clock::unix_millis();
                let (silent, unheard) = {
                    let mut state = edge.typing.lock();
                    (state.keyboards.expire(now), state.indicators.expire(now))
                };
                for writer in silent {
                    send(&edge, &Signal { writer, is_typing: false }).await;
                }
                for writer in unheard {
                    take_back(&edge, writer);
                }
            }
        }
    }
}

/// Lost when NATS is away, as ephemeral events are.
async fn send(edge: &Shared, signal: &Signal) {
    let Some(admitted) = admit(edge, signal) else { return };
    let mut headers = admitted.envelope.headers();
    headers.extend(except(&signal.writer.user).map(|user| (header::EXCEPT, user)));
    let sent = edge.nats.publish(admitted.subject.as_str(), &headers, admitted.envelope.data);
    if let Err(error) = sent.await {
        debug!(%error, "a typing signal");
    }
}

/// As if its gateway had said so.
fn take_back(edge: &Shared, writer: Writer) {
    let except = except(&writer.user);
    let Some(admitted) = admit(edge, &Signal { writer, is_typing: false }) else { return };
    let entry = Entry::signal(admitted.envelope, except, &edge.catalogue);
    edge.hub.append(vec![entry]);
}

fn admit(edge: &Shared, signal: &Signal) -> Option<Admitted> {
    let Signal { writer: Writer { tenant, user, contact, account }, is_typing } = signal;
    let mut data = json!({ "contactId": &**contact, "isTyping": is_typing, "userId": &**user });
    if let Some(account) = account {
        data["whatsappAccountId"] = Value::from(&**account);
    }
    own_event(edge, tenant, INDICATOR, data)
}

/// An event of the gateway's own.
pub(crate) fn own_event(
    edge: &Shared,
    tenant: &Tenant,
    event_type: &str,
    data: Value,
) -> Option<Admitted> {
    let publication = Publication::new(event_type, "/gateway", data);
    let defaults = Defaults { id: ids::ordered(), now: clock::now() };
    let admitted = edge.catalogue.admit_own(tenant, publication, defaults);
    admitted.inspect_err(|refusal| debug!(%refusal, event_type, "an event of its own")).ok()
}

/// A user's id as it can stand in a header.
pub(crate) fn except(user: &str) -> Option<String> {
    Channel::with_id("user", user).ok()?.id().map(str::to_owned)
}

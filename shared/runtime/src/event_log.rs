//! Appends to streams: stored and acknowledged, or a clear reason why not.
//!
//! Everything in flight is kept until it is answered and sent again, under its own message id, as soon as a broken
//! connection stands again; no caller waits for a client library's time-out. Knows nothing about what is appended.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::{Envelope, Subject};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::log_message::LogMessage;
use crate::log_reader::LogReader;
use crate::nats::replies::Inbox;
use crate::nats::{ConnectError, Connection};

mod answer;
mod driver;
mod outgoing;
mod own;
mod resolve;
mod table;

use answer::Refusal;
use outgoing::{Outgoing, Wanted};
use table::{Closed, Table};

/// Appends of one process that wait for their acknowledgement; more wait for a place.
const IN_FLIGHT: usize = 4096;
const DEADLINE: Duration = Duration::from_secs(5);

/// One message to be stored.
#[derive(Clone, Debug)]
pub struct Append {
    pub subject: String,
    /// `Nats-Msg-Id`: the same for every attempt to store the same thing.
    pub message_id: String,
    pub headers: Vec<(&'static str, String)>,
    pub payload: Bytes,
    pub expect: Option<Expect>,
}

/// Stored only if the last message of `guard` has this sequence; 0 says that there is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expect {
    pub guard: String,
    pub sequence: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Appended {
    pub stream: String,
    pub sequence: u64,
    /// Stored before, by an earlier append with the same message id.
    pub duplicate: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    #[error("another append came first")]
    Conflict,
    #[error("the message is larger than the log accepts")]
    TooLarge,
    #[error("the stream is full")]
    Full,
    /// It may be stored or not; appending the same message id again tells.
    #[error("the log did not say in time whether the message is stored")]
    Unknown,
    /// It is not stored.
    #[error("the log cannot be reached or refuses")]
    Unavailable(#[source] Reason),
}

/// Why the log was unavailable, for the operator.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    #[error("no connection, or no stream for this subject, within the deadline")]
    NotReached,
    #[error("too many appends wait for their acknowledgement")]
    Busy,
    #[error("{description} ({code})")]
    Server { code: u32, description: String },
    #[error("the message cannot be sent: {0}")]
    Unsendable(String),
}

/// A handle that is cheap to clone.
#[derive(Clone)]
pub struct EventLog {
    inner: Arc<Inner>,
    deadline: Duration,
}

struct Inner {
    connection: Connection,
    table: Arc<Table>,
    reader: LogReader,
    _driver: JoinSet<()>,
}

impl EventLog {
    pub(crate) async fn start(
        connection: &Connection,
        reader: LogReader,
    ) -> Result<Self, ConnectError> {
        let client = connection.client().clone();
        let inbox = Inbox::new(&client.new_inbox());
        let subscribed = client.subscribe(inbox.subject()).await;
        let subscriber = subscribed.map_err(ConnectError::Subscribe)?;
        let table = Arc::new(Table::new(inbox, IN_FLIGHT));
        let mut driver = JoinSet::new();
        let link = connection.watch_link();
        driver.spawn(driver::send(table.clone(), client.clone()));
        driver.spawn(driver::run(table.clone(), client, subscriber, link));
        let connection = connection.clone();
        let inner = Arc::new(Inner { connection, table, reader, _driver: driver });
        Ok(Self { inner, deadline: DEADLINE })
    }

    /// The same log with another deadline for each append as a whole.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self { inner: self.inner.clone(), deadline }
    }

    /// Keeps the stream's own appends from now on, for a follower.
    pub(crate) fn watch_own(&self, stream: &str) {
        self.inner.table.own.watch(stream);
    }

    /// What this process has appended right behind a sequence, as far as that is known without a hole.
    pub(crate) fn own_successors(&self, stream: &str, after: u64) -> Vec<LogMessage> {
        self.inner.table.own.successors(stream, after)
    }

    /// What this process has appended behind a sequence, as far as it is known.
    pub(crate) fn own_between(&self, stream: &str, after: u64, upto: u64) -> Vec<LogMessage> {
        self.inner.table.own.between(stream, after, upto)
    }

    /// How many appends wait for their acknowledgement now.
    pub fn in_flight(&self) -> usize {
        self.inner.table.len()
    }

    pub async fn publish_envelope(
        &self,
        subject: &Subject,
        message_id: &str,
        envelope: &Envelope,
        expect: Option<Expect>,
    ) -> Result<Appended, AppendError> {
        let wanted = Wanted { subject: subject.as_str(), message_id, expect: expect.as_ref() };
        self.store(Outgoing::of_envelope(wanted, envelope)?, wanted).await
    }

    /// Returns once the log has acknowledged or refused it, at the latest a moment after the deadline.
    pub async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        let wanted = Wanted {
            subject: &append.subject,
            message_id: &append.message_id,
            expect: append.expect.as_ref(),
        };
        self.store(Outgoing::of(&append)?, wanted).await
    }

    async fn store(&self, message: Outgoing, wanted: Wanted<'_>) -> Result<Appended, AppendError> {
        let deadline = Instant::now() + self.deadline;
        let place = self.place(deadline).await?;
        let ticket = self.inner.table.enter(message, place, deadline);
        // Entered first: whatever is in the table when the connection comes back is sent by the driver.
        if self.inner.connection.link().up {
            self.inner.table.post(&ticket);
        }
        match ticket.closed().await {
            Closed::Stored { stream, sequence, duplicate } => {
                Ok(Appended { stream, sequence, duplicate })
            }
            Closed::Refused(Refusal::Conflict { stream }, copies) => {
                resolve::conflict(&self.inner.reader, wanted, &stream, copies).await
            }
            Closed::Refused(refusal, _) => Err(refusal.into()),
            Closed::Unsent(error) => Err(error),
            Closed::Expired { maybe_stored: false } => {
                Err(AppendError::Unavailable(Reason::NotReached))
            }
            Closed::Expired { maybe_stored: true } => {
                resolve::unknown(&self.inner.reader, wanted).await
            }
        }
    }

    async fn place(
        &self,
        deadline: Instant,
    ) -> Result<tokio::sync::OwnedSemaphorePermit, AppendError> {
        let places = self.inner.table.places();
        if let Ok(place) = places.clone().try_acquire_owned() {
            return Ok(place);
        }
        match timeout_at(deadline, places.acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(AppendError::Unavailable(Reason::Busy)),
        }
    }
}

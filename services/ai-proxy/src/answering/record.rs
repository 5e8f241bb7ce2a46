//! Appends of an instance that answers: under the guard of its claim, each stored once however often it is tried.
//! What must not be lost is tried again; what comes too late is told as lost.
//! What people say is sealed here on its way into the log, and opened here on its way out.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use domain::Command;
use domain::catalogue::{Admitted, Defaults, Delivery, Publication, Refusal};
use domain::protection::{Protection, Subject};
use domain::token::{Tenant, Token};
use runtime::catalogue::LiveCatalogue;
use runtime::event_log::{Append, AppendError, EventLog, Expect};
use runtime::nats::Nats;
use runtime::telemetry::chain;
use runtime::vault::{Vault, VaultError};
use runtime::{clock, ids};
use serde_json::{Map, Value, json};
use tokio::time::sleep;
use tracing::{debug, error, warn};

use super::keys::Keys;

mod unnamed;

/// The source of what the AI side appends.
pub(crate) const SOURCE: &str = "/ai";
/// Whose sound it is.
const USER: &str = "user";
/// Appends whose outcome is unknown are tried again: the same message id makes them one.
const TRIES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(250);

#[derive(Clone)]
pub(crate) struct Recorder {
    nats: Nats,
    log: EventLog,
    catalogue: LiveCatalogue,
    vault: Vault,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    /// Somebody else has appended under the guard.
    #[error("another instance came first")]
    Conflict,
    /// The data is not what the catalogue asks for, or too much.
    #[error("the event cannot be stored as it is")]
    Unfit,
    #[error("the log is not available")]
    Unavailable,
}

/// An event to be stored or sent; `key` is the same for every attempt to store the same thing.
pub(crate) struct Record<'a> {
    pub tenant: &'a Tenant,
    pub kind: &'static str,
    pub key: String,
    pub data: Value,
    pub cause: Option<&'a str>,
}

impl Recorder {
    pub(crate) fn new(nats: &Nats, catalogue: LiveCatalogue, vault: Vault) -> Self {
        Self { nats: nats.clone(), log: nats.event_log(), catalogue, vault }
    }

    pub(crate) fn nats(&self) -> &Nats {
        &self.nats
    }

    /// Appends an event behind the revision of its entity; gives the new one.
    pub(crate) async fn guarded(
        &self,
        record: Record<'_>,
        revision: u64,
    ) -> Result<u64, RecordError> {
        let admitted = self.admit(self.sealed(record).await?)?;
        let guard = admitted.subject.address().guard();
        self.append(&admitted, Some(Expect { guard, sequence: revision })).await
    }

    /// Appends a fact that no decision depends on.
    pub(crate) async fn unguarded(&self, record: Record<'_>) -> Result<u64, RecordError> {
        let admitted = self.admit(self.sealed(record).await?)?;
        self.append(&admitted, None).await
    }

    /// Appends a command, which is decided once however often it is handed in.
    pub(crate) async fn command(&self, mut command: Command) -> Result<(), RecordError> {
        if let Some((protection, subject)) = self.catalogue.protected(&command) {
            self.vault.seal(&mut command.data, protection, &subject).await.map_err(locked)?;
        }
        let subject = command.subject().map_err(|_| RecordError::Unfit)?;
        let message_id = format!("{}:{SOURCE}:{}", command.tenant, ids::ordered());
        for turn in 0..TRIES {
            let append = Append {
                subject: subject.clone(),
                message_id: message_id.clone(),
                headers: command.headers(),
                payload: command.payload(),
                expect: None,
            };
            match self.log.append(append).await {
                Ok(_) => return Ok(()),
                Err(AppendError::TooLarge) => return Err(RecordError::Unfit),
                Err(failure) => {
                    warn!(error = %chain(&failure), kind = %command.kind,
                        "tried again: a command of the AI side is not known to be stored");
                }
            }
            sleep(PAUSE * (turn + 1)).await;
        }
        Err(RecordError::Unavailable)
    }

    /// For the keys of what is going to be opened.
    pub(crate) fn keys(&self) -> Keys {
        Keys::none(self.vault.clone())
    }

    /// Stored data with what people said in the clear, as far as it has not been erased. The keys are noted.
    pub(crate) async fn opened(
        &self,
        tenant: &Tenant,
        data: &Bytes,
        keys: &mut Keys,
    ) -> Result<Bytes, RecordError> {
        match self.vault.prepare(tenant, data).await {
            // No other try can open what a key that cannot be read has sealed: it counts as erased.
            Ok(()) | Err(VaultError::Wrapped) => {
                // Before it is opened: with a key that comes later it would not have been.
                keys.note(tenant, data);
                Ok(self.vault.open(tenant, data))
            }
            Err(unreachable) => Err(locked(unreachable)),
        }
    }

    /// Data with what is personal in it sealed with the keys that opened what it follows from.
    pub(crate) fn sealed_with(
        &self,
        keys: &Keys,
        tenant: &Tenant,
        kind: &str,
        mut data: Value,
    ) -> Value {
        if let Some(data) = data.as_object_mut()
            && let Some((protection, person)) = self.protected(tenant, kind, data)
        {
            keys.seal(data, &protection, &person);
        }
        data
    }

    /// Sound of a person, sealed like what the person says.
    pub(crate) async fn sealed_sound(
        &self,
        tenant: &Tenant,
        user: &str,
        sound: &[u8],
        keys: &Keys,
    ) -> Result<Vec<u8>, RecordError> {
        let person = user_of(tenant, user)?;
        match keys.seal_bytes(&person, sound) {
            Some(sealed) => Ok(sealed),
            None => self.vault.seal_bytes(&person, sound).await.map_err(locked),
        }
    }

    /// The record with what is personal in it sealed. Ephemeral events are never kept and stay as they are.
    async fn sealed<'a>(&self, mut record: Record<'a>) -> Result<Record<'a>, RecordError> {
        if let Some(data) = record.data.as_object_mut()
            && let Some((protection, person)) = self.protected(record.tenant, record.kind, data)
        {
            self.vault.seal(data, &protection, &person).await.map_err(locked)?;
        }
        Ok(record)
    }

    /// What is personal in an event, and whose it is.
    fn protected(
        &self,
        tenant: &Tenant,
        kind: &str,
        data: &mut Map<String, Value>,
    ) -> Option<(Cow<'_, Protection>, Subject)> {
        let protection = self.catalogue.protection(tenant, self.catalogue.by_type(kind)?)?;
        let person = protection.subject(tenant, data)?;
        Some((unnamed::protected(kind, data, protection), person))
    }

    /// Tells who listens what the AI is at.
    pub(crate) async fn state(&self, tenant: &Tenant, conversation: &str, state: &'static str) {
        let data = json!({ "conversationId": conversation, "state": state });
        self.live(tenant, "conversation.state", data).await;
    }

    /// Sends an ephemeral event to who listens; nobody misses one that cannot be sent.
    pub(crate) async fn live(&self, tenant: &Tenant, kind: &'static str, data: Value) {
        let key = String::new();
        let record = Record { tenant, kind, key, data, cause: None };
        let Ok(admitted) = self.admit(record) else { return };
        debug_assert_eq!(admitted.delivery, Delivery::Ephemeral);
        let (headers, data) = (admitted.envelope.headers(), admitted.envelope.data.clone());
        if let Err(reason) = self.nats.publish(admitted.subject.as_str(), &headers, data).await {
            debug!(%reason, "an ephemeral event could not be sent");
        }
    }

    fn admit(&self, record: Record<'_>) -> Result<Admitted, RecordError> {
        let mut publication = Publication::new(record.kind, SOURCE, record.data);
        publication.key = (!record.key.is_empty()).then_some(record.key);
        publication.causation_id = record.cause.map(str::to_owned);
        let defaults = Defaults { id: ids::ordered(), now: clock::now() };
        self.catalogue.admit_own(record.tenant, publication, defaults).map_err(|refusal| {
            // The reason names the place and never repeats the data.
            match refusal {
                Refusal::Invalid(_) => warn!(event.type = record.kind, %refusal, "unfit"),
                other => error!(event.type = record.kind, refusal = %other, "not in the catalogue"),
            }
            RecordError::Unfit
        })
    }

    async fn append(
        &self,
        admitted: &Admitted,
        expect: Option<Expect>,
    ) -> Result<u64, RecordError> {
        for turn in 0..TRIES {
            let (subject, id) = (&admitted.subject, &admitted.message_id);
            let appended =
                self.log.publish_envelope(subject, id, &admitted.envelope, expect.clone());
            let failure = match appended.await {
                Ok(appended) => return Ok(appended.sequence),
                Err(AppendError::Conflict) => return Err(RecordError::Conflict),
                Err(AppendError::TooLarge) => return Err(RecordError::Unfit),
                Err(failure) => failure,
            };
            warn!(error = %chain(&failure), event.type = %admitted.envelope.event_type,
                "tried again: an event of the AI side is not known to be stored");
            sleep(PAUSE * (turn + 1)).await;
        }
        Err(RecordError::Unavailable)
    }
}

pub(crate) fn user_of(tenant: &Tenant, user: &str) -> Result<Subject, RecordError> {
    let kind = Token::parse(USER).map_err(|_| RecordError::Unfit)?;
    Ok(Subject::new(tenant, &kind, user))
}

fn locked(error: VaultError) -> RecordError {
    warn!(error = %chain(&error), "somebody's key cannot be had");
    match error {
        VaultError::Bucket(_) => RecordError::Unavailable,
        // However often it is tried.
        VaultError::Wrapped => RecordError::Unfit,
    }
}

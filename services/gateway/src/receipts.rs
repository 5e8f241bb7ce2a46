//! Proof of delivery: which device was sent a critical event, and which is known to have received it.
//!
//! Noted beside the delivery and handed to the write side about once a second, which keeps them in the log; a delivery
//! never waits for it. A receipt needs both halves: a device has received what it was sent (by whichever gateway; the log
//! tells) once it acknowledges, answers a ping or comes back at or behind it. Mere presence proves nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::cursor::Cursor;
use domain::envelope::rfc3339;
use domain::{EntityToken, Envelope, StreamId, Tenant, subject};
use runtime::event_log::{Append, EventLog};
use runtime::metrics::Metrics;
use runtime::metrics::metrics::counter::Counter;
use runtime::nats::Nats;
use runtime::tasks::BoxError;
use runtime::telemetry::chain;
use runtime::{clock, ids};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::devices::Device;
use crate::entry::Entry;

mod book;

use book::{About, Book, Receipt, State};

/// The event type under which the log keeps them.
pub(crate) const KEPT: &str = "crisis.receipts";
const EVERY: Duration = Duration::from_secs(1);
/// In one message; the catalogue allows 256.
const BATCH: usize = 200;
const APPEND_WITHIN: Duration = Duration::from_secs(2);
/// Ids are no longer in the log.
const MAX_ID: usize = 160;

/// A handle that is cheap to clone.
#[derive(Clone)]
pub(crate) struct Receipts {
    inner: Arc<Inner>,
}

struct Inner {
    gateway: EntityToken,
    book: Mutex<Book>,
    dropped: Counter,
}

/// One connection's side of it.
pub(crate) struct Witness {
    receipts: Receipts,
    device: Device,
}

/// What is handed in at once, under one id however often that is tried.
struct Batch {
    id: String,
    tenant: Tenant,
    payload: String,
}

/// Receipts as the log tells of them.
#[derive(Deserialize)]
struct Kept {
    gateway: String,
    receipts: Vec<Value>,
}

impl Receipts {
    pub(crate) fn new(gateway: &str, metrics: &Metrics) -> Self {
        let gateway = EntityToken::from_external(gateway);
        let dropped = metrics.counter(
            "gateway_receipts_dropped",
            "Receipts that nobody could hand in for too long.",
        );
        Self { inner: Arc::new(Inner { gateway, book: Mutex::default(), dropped }) }
    }

    pub(crate) fn of(&self, device: &Device) -> Witness {
        let (tenant, fitting) = (device.tenant.clone(), |id: &str| fitting(id));
        let device = Device { tenant, user: fitting(&device.user), name: fitting(&device.name) };
        Witness { receipts: self.clone(), device }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.inner.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What any gateway has handed in, as it comes back from the log.
    pub(crate) fn learn(&self, envelope: &Envelope) {
        let Ok(kept) = serde_json::from_slice::<Kept>(&envelope.data) else { return };
        if kept.gateway == self.inner.gateway.as_str() {
            return;
        }
        let mut book = self.book();
        for receipt in kept.receipts.into_iter().filter_map(read) {
            book.learn(&envelope.tenant, receipt);
        }
    }

    /// Hands in until `shutdown`, and then what is left.
    pub(crate) async fn run(self, nats: Nats, shutdown: CancellationToken) -> Result<(), BoxError> {
        let log = nats.event_log().with_deadline(APPEND_WITHIN);
        let (mut ticks, mut unsent) = (tokio::time::interval(EVERY), None);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = ticks.tick() => self.hand_in(&log, &mut unsent).await,
            }
        }
        self.hand_in(&log, &mut unsent).await;
        Ok(())
    }

    /// All that is noted; the first batch that the log does not take is tried again before all others.
    async fn hand_in(&self, log: &EventLog, unsent: &mut Option<Batch>) {
        self.inner.dropped.inc_by(self.book().take_dropped());
        loop {
            if unsent.is_none() {
                *unsent = self.next_batch();
            }
            let Some(batch) = &*unsent else { return };
            let append = Append {
                subject: subject::receipts(&batch.tenant, &self.inner.gateway),
                message_id: format!("{}:receipts:{}", batch.tenant, batch.id),
                headers: Vec::new(),
                payload: batch.payload.clone().into(),
                expect: None,
            };
            if let Err(error) = log.append(append).await {
                warn!(error = chain(&error), "receipts are not handed in yet");
                return;
            }
            *unsent = None;
        }
    }

    fn next_batch(&self) -> Option<Batch> {
        let (tenant, receipts) = self.book().take(BATCH)?;
        let receipts: Vec<_> = receipts.iter().map(write).collect();
        let payload = json!({ "gateway": self.inner.gateway.as_str(), "receipts": receipts });
        Some(Batch { id: ids::ordered(), tenant, payload: payload.to_string() })
    }
}

impl Witness {
    /// A frame of this event goes out.
    pub(crate) fn sent(&self, entry: &Entry) {
        let Some(place) = entry.place else { return };
        let envelope = &entry.envelope;
        // An answer to one connection is no alarm.
        if envelope.channels.iter().all(|channel| channel.kind() == "connection") {
            return;
        }
        let about = About {
            sequence: place.sequence,
            event: fitting(&envelope.id),
            event_type: envelope.event_type.clone(),
            alert_id: alert_of(envelope),
        };
        self.receipts.book().sent(&self.device, about, clock::now());
    }

    /// The device has everything up to this cursor.
    pub(crate) fn received(&self, cursor: &Cursor) {
        let up_to = cursor.position.sequence(StreamId::Crisis);
        self.receipts.book().received(&self.device, up_to, clock::now());
    }
}

fn alert_of(envelope: &Envelope) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Alert {
        alert_id: Option<String>,
    }
    serde_json::from_slice::<Alert>(&envelope.data).ok()?.alert_id
}

/// As the log takes it: what is empty or too long stands there by its digest.
fn fitting(id: &str) -> String {
    match id.len() {
        0 => "-".to_owned(),
        1..=MAX_ID => id.to_owned(),
        _ => EntityToken::from_external(id).to_string(),
    }
}

fn write(receipt: &Receipt) -> Value {
    let mut written = json!({
        "event": receipt.about.event,
        "sequence": receipt.about.sequence,
        "type": receipt.about.event_type,
        "userId": receipt.user,
        "device": receipt.device,
        "state": receipt.state.name(),
        "at": rfc3339(receipt.at),
    });
    if let Some(alert) = &receipt.about.alert_id {
        written["alertId"] = alert.as_str().into();
    }
    written
}

fn read(written: Value) -> Option<Receipt> {
    let text = |name: &str| written.get(name)?.as_str().map(str::to_owned);
    Some(Receipt {
        user: text("userId")?,
        device: text("device")?,
        state: State::of(&text("state")?)?,
        at: domain::envelope::parse_rfc3339(&text("at")?)?,
        about: Arc::new(About {
            sequence: written.get("sequence")?.as_u64()?,
            event: text("event")?,
            event_type: text("type")?,
            alert_id: text("alertId"),
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_survives_its_way_through_the_log() {
        let about = About {
            sequence: 7,
            event: "e-1".into(),
            event_type: "crisis.alert".into(),
            alert_id: Some("c-9-1".into()),
        };
        let at = domain::envelope::parse_rfc3339("2026-01-02T03:04:05.678Z").unwrap();
        let (user, device) = ("1".to_owned(), "phone".to_owned());
        let receipt = Receipt { user, device, state: State::Sent, at, about: Arc::new(about) };
        assert_eq!(read(write(&receipt)).unwrap(), receipt);
    }

    #[test]
    fn every_name_fits_the_log() {
        assert_eq!((fitting(""), fitting("phone")), ("-".to_owned(), "phone".to_owned()));
        assert!(fitting(&"x".repeat(500)).len() <= MAX_ID);
    }
}

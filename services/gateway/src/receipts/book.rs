//! What was sent and received, noted once and kept until it is handed in. Pure: told the time, it knows no log.
//!
//! Everything is bounded: what has been noted and what waits for its other half are kept in two generations, of which
//! the older is forgotten; a receipt that finds no place is counted. Forgetting proves less, never more.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::mem;
use std::sync::Arc;

use domain::Tenant;
use time::OffsetDateTime;

use crate::devices::Device;

/// In one generation.
const REMEMBERED: usize = 65_536;
/// Receipts that wait to be handed in.
const WAITING: usize = 65_536;

/// A critical event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct About {
    /// In CRISIS.
    pub(super) sequence: u64,
    pub(super) event: String,
    pub(super) event_type: String,
    pub(super) alert_id: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum State {
    Sent,
    Received,
}

impl State {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Received => "received",
        }
    }

    pub(super) fn of(name: &str) -> Option<Self> {
        [Self::Sent, Self::Received].into_iter().find(|state| state.name() == name)
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Receipt {
    pub(super) user: String,
    pub(super) device: String,
    pub(super) state: State,
    pub(super) at: OffsetDateTime,
    pub(super) about: Arc<About>,
}

#[derive(Default)]
pub(super) struct Book {
    hashes: RandomState,
    /// Receipts that have been noted, here or elsewhere.
    noted: [HashSet<u64>; 2],
    /// Sent and not yet known to be received, by device.
    open: [HashMap<Device, Vec<Arc<About>>>; 2],
    /// In the younger generation of `open`.
    opened: usize,
    waiting: BTreeMap<Tenant, Vec<Receipt>>,
    count: usize,
    dropped: u64,
}

impl Book {
    pub(super) fn sent(&mut self, device: &Device, about: About, at: OffsetDateTime) {
        if self.note(device, &about.event, State::Sent) {
            let about = Arc::new(about);
            self.await_receipt(device, about.clone());
            self.wait(device, State::Sent, at, about);
        }
    }

    pub(super) fn received(&mut self, device: &Device, up_to: u64, at: OffsetDateTime) {
        for generation in 0..2 {
            let Some(open) = self.open[generation].get_mut(device) else { continue };
            let (received, rest) = mem::take(open).into_iter().partition(|a| a.sequence <= up_to);
            *open = rest;
            if open.is_empty() {
                self.open[generation].remove(device);
            }
            let received: Vec<Arc<About>> = received;
            for about in received {
                if self.note(device, &about.event, State::Received) {
                    self.wait(device, State::Received, at, about);
                }
            }
        }
    }

    /// Another gateway's receipt.
    pub(super) fn learn(&mut self, tenant: &Tenant, receipt: Receipt) {
        let Receipt { user, device: name, state, about, .. } = receipt;
        let device = Device { tenant: tenant.clone(), user, name };
        let is_new = self.note(&device, &about.event, state);
        match state {
            State::Sent if is_new => self.await_receipt(&device, about),
            State::Sent => {}
            State::Received => {
                for open in &mut self.open {
                    if let Some(open) = open.get_mut(&device) {
                        open.retain(|other| other.event != about.event);
                    }
                }
            }
        }
    }

    /// The receipts of one tenant, so many at most.
    pub(super) fn take(&mut self, most: usize) -> Option<(Tenant, Vec<Receipt>)> {
        let mut entry = self.waiting.first_entry()?;
        let tenant = entry.key().clone();
        let of_tenant = entry.get_mut();
        let rest = of_tenant.split_off(most.min(of_tenant.len()));
        let taken = mem::replace(of_tenant, rest);
        if of_tenant.is_empty() {
            entry.remove();
        }
        self.count -= taken.len();
        Some((tenant, taken))
    }

    /// How many found no place since this was asked last.
    pub(super) fn take_dropped(&mut self) -> u64 {
        mem::take(&mut self.dropped)
    }

    fn note(&mut self, device: &Device, event: &str, state: State) -> bool {
        let hash = self.hashes.hash_one((device, event, state));
        if self.noted.iter().any(|generation| generation.contains(&hash)) {
            return false;
        }
        if self.noted[0].len() >= REMEMBERED {
            self.noted[1] = mem::take(&mut self.noted[0]);
        }
        self.noted[0].insert(hash)
    }

    fn await_receipt(&mut self, device: &Device, about: Arc<About>) {
        if self.opened >= REMEMBERED {
            self.open[1] = mem::take(&mut self.open[0]);
            self.opened = 0;
        }
        self.opened += 1;
        self.open[0].entry(device.clone()).or_default().push(about);
    }

    fn wait(&mut self, device: &Device, state: State, at: OffsetDateTime, about: Arc<About>) {
        if self.count >= WAITING {
            self.dropped += 1;
            return;
        }
        self.count += 1;
        let (user, name) = (device.user.clone(), device.name.clone());
        let receipt = Receipt { user, device: name, state, at, about };
        self.waiting.entry(device.tenant.clone()).or_default().push(receipt);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(user: &str, name: &str) -> Device {
        Device { tenant: tenant(), user: user.into(), name: name.into() }
    }

    fn tenant() -> Tenant {
        Tenant::parse("acme").unwrap()
    }

    fn about(sequence: u64) -> About {
        let event = format!("e-{sequence}");
        About { sequence, event, event_type: "crisis.alert".into(), alert_id: None }
    }

    fn at() -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH
    }

    fn taken(book: &mut Book) -> Vec<(String, &'static str, u64)> {
        let (_, receipts) = book.take(usize::MAX).unwrap_or((tenant(), Vec::new()));
        let short = |r: Receipt| (r.device.clone(), r.state.name(), r.about.sequence);
        receipts.into_iter().map(short).collect()
    }

    #[test]
    fn a_device_has_received_what_it_was_sent_and_nothing_else() {
        let (mut book, phone, desk) = (Book::default(), device("1", "phone"), device("1", "desk"));
        book.sent(&phone, about(5), at());
        book.sent(&phone, about(7), at());
        book.received(&desk, 9, at());
        book.received(&phone, 6, at());
        let phone = |state, sequence| ("phone".to_owned(), state, sequence);
        assert_eq!(taken(&mut book), [phone("sent", 5), phone("sent", 7), phone("received", 5)]);
    }

    #[test]
    fn what_is_sent_or_acknowledged_again_is_noted_once() {
        let (mut book, phone) = (Book::default(), device("1", "phone"));
        for _ in 0..2 {
            book.sent(&phone, about(5), at());
            book.received(&phone, 5, at());
        }
        assert_eq!(taken(&mut book).len(), 2);
        book.sent(&phone, about(5), at());
        book.received(&phone, 5, at());
        assert!(taken(&mut book).is_empty());
    }

    #[test]
    fn what_another_gateway_has_sent_is_received_here() {
        let (mut book, phone) = (Book::default(), device("1", "phone"));
        let receipt = |sequence, state| Receipt {
            user: "1".into(),
            device: "phone".into(),
            state,
            at: at(),
            about: Arc::new(about(sequence)),
        };
        book.learn(&tenant(), receipt(5, State::Sent));
        book.learn(&tenant(), receipt(6, State::Sent));
        book.learn(&tenant(), receipt(6, State::Received));
        book.received(&phone, 8, at());
        assert_eq!(taken(&mut book), [("phone".to_owned(), "received", 5)]);
    }

    #[test]
    fn everything_is_bounded_and_what_finds_no_place_is_counted() {
        let mut book = Book::default();
        let all = (WAITING + 10) as u64;
        for sequence in 0..all {
            book.sent(&device("1", "phone"), about(sequence), at());
        }
        assert_eq!((book.take_dropped(), book.take_dropped()), (10, 0));
        assert!(book.noted.iter().all(|generation| generation.len() <= REMEMBERED));
        let (_, first) = book.take(200).unwrap();
        assert_eq!((first.len(), book.count), (200, WAITING - 200));
    }
}

//! How many connections one address may hold before it has said who it is.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// The other side of a connection, in the extensions of each of its requests.
#[derive(Clone, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    /// Whether the connection itself is encrypted.
    pub tls: bool,
    place: Arc<Place>,
}

impl Peer {
    /// The connection has said who it is and no longer counts against its address.
    pub fn authenticated(&self) {
        self.place.leave();
    }

    /// Ends the connection without another word, whatever it is about to write; for a peer that does not read.
    /// One that was upgraded is its handler's to end.
    pub fn close(&self) {
        self.place.closing.notify_one();
    }

    pub(super) async fn closing(&self) {
        self.place.closing.notified().await;
    }
}

/// Connections per address that have not authenticated.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    cap: usize,
    waiting: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

#[derive(Debug)]
struct Place {
    address: IpAddr,
    left: AtomicBool,
    closing: Notify,
    admission: Admission,
}

impl Admission {
    pub(super) fn new(cap: usize) -> Self {
        Self { cap, waiting: Arc::default() }
    }

    /// A place for one more connection, or `None` when its address holds too many.
    pub(super) fn admit(&self, address: SocketAddr, tls: bool) -> Option<Peer> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.entry(address.ip()).or_default();
        if *count >= self.cap {
            return None;
        }
        *count += 1;
        drop(waiting);
        let (left, closing) = (AtomicBool::new(false), Notify::new());
        let place = Place { address: address.ip(), left, closing, admission: self.clone() };
        Some(Peer { address, tls, place: Arc::new(place) })
    }
}

impl Place {
    fn leave(&self) {
        if self.left.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut waiting = self.admission.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = waiting.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.address);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_its_places_back_by_authenticating_or_leaving() {
        let admission = Admission::new(2);
        let address = SocketAddr::from(([10, 0, 0, 1], 1));
        let first = admission.admit(address, false).unwrap();
        let second = admission.admit(address, false).unwrap();
        assert!(admission.admit(address, false).is_none());
        assert!(admission.admit(SocketAddr::from(([10, 0, 0, 2], 1)), false).is_some());

        first.authenticated();
        first.authenticated();
        let third = admission.admit(address, false).unwrap();
        assert!(admission.admit(address, false).is_none(), "authenticating twice gave two places");
        drop((first, second, third));
        assert!(admission.waiting.lock().unwrap().is_empty());
    }
}

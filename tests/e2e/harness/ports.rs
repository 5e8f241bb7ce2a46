//! Ports that a killed process finds free again: below those that the kernel gives to outgoing connections.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 12_000;
const COUNT: u16 = 18_000;

pub(crate) fn free() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two test runs on one machine begin at different places.
    let offset = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap();
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(offset) % COUNT;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, FIRST + next));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

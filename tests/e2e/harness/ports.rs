//! Ports that a killed process finds free again: below those that the kernel gives to outgoing connections, and
//! apart from those of any other test run on this machine.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 12_000;
/// Many enough that a port comes round again only after the tests that knew it have ended.
const PER_RUN: u16 = 2_000;
const RUNS: u16 = 9;

/// A run's own ports. Whoever holds the first of them has the others.
struct Range {
    first: u16,
    _held: TcpListener,
}

static RANGE: LazyLock<Range> = LazyLock::new(|| {
    let hold = |run| {
        let first = FIRST + run * PER_RUN;
        TcpListener::bind(on(first)).ok().map(|held| Range { first, _held: held })
    };
    (0..RUNS).find_map(hold).expect("no more than nine test runs on one machine at one time")
});

pub(crate) fn free() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed) % (PER_RUN - 1);
        let address = on(RANGE.first + 1 + next);
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

fn on(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

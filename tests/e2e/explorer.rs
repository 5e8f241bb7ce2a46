//! A client that does everything in a random order: it joins with a past, is cut, hops between gateways, comes back
//! with older cursors or with none, while events are written and gateways die. The checker has the last word.

use std::net::SocketAddr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::Instant;

use crate::checker::{History, Start};
use crate::clients::publisher::{Kind, Publisher};
use crate::clients::scripts::setting;
use crate::clients::sse::EventSource;
use crate::clients::websocket::WebSocket;
use crate::harness::cast::{admin, calls, journey, publisher, source, team};
use crate::harness::{Admin, Options, Service, TestPlatform};

const JOINABLE: [&str; 3] = ["calls", "whatsapp:a1", "whatsapp:a2"];

struct World {
    platform: TestPlatform,
    history: History,
    nats: Admin,
    writers: Vec<Publisher>,
    alerts: u64,
    /// Follows everything; its cursors are the positions that others join with.
    marker: EventSource,
    rng: StdRng,
}

impl World {
    async fn begin(seed: u64) -> Self {
        let platform = TestPlatform::start_with(Options::default().two_gateways()).await;
        let history = History::new();
        let everything = ["calls", "whatsapp:a1", "whatsapp:a2", "team", "admin"];
        let mut marker = source(&history, "marker", &everything);
        marker.connect(platform.gateway(), Start::Now).await.unwrap();
        let account = |name: &str| Kind::Message { account: name.into(), contact: name.into() };
        let writers = vec![
            calls(&history, "c"),
            team(&history, "t"),
            publisher(&history, "one", account("a1")),
            publisher(&history, "two", account("a2")),
        ];
        let nats = platform.admin().await;
        let rng = StdRng::seed_from_u64(seed);
        let mut world = Self { platform, history, nats, writers, alerts: 0, marker, rng };
        for _ in 0..30 {
            world.write().await;
        }
        world.marker.receive(30).await;
        world
    }

    async fn write(&mut self) {
        let which = self.rng.random_range(0..self.writers.len());
        self.writers[which].insist(self.platform.ingest()).await;
    }

    fn gateway(&mut self) -> SocketAddr {
        let gateways = [self.platform.gateway(), self.platform.second_gateway()];
        *gateways.choose(&mut self.rng).unwrap()
    }

    async fn kill_a_gateway(&mut self, client: &mut WebSocket) {
        client.cut();
        self.platform.kill(Service::SecondGateway);
        self.history.fault("gateway killed");
        self.platform.restart(Service::SecondGateway).await;
    }
}

/// What may be done next depends on what was done since the last join.
struct Explorer {
    socket: WebSocket,
    unjoined: Vec<&'static str>,
    /// Cursors from here on are of the last connection and of the channels as they are now.
    since: usize,
    acknowledged: bool,
}

impl Explorer {
    async fn arrive(world: &mut World, name: &str) -> Self {
        let mut socket = admin(&world.history, name);
        socket.connect(world.gateway()).await.unwrap();
        Self { socket, unjoined: JOINABLE.to_vec(), since: 0, acknowledged: false }
    }

    async fn step(&mut self, world: &mut World) {
        if !self.socket.is_open() {
            self.resume(world).await;
        }
        match world.rng.random_range(0..100) {
            0..30 => {
                for _ in 0..world.rng.random_range(1..8) {
                    let _ = self.socket.next(Duration::from_millis(5)).await;
                }
            }
            30..60 => world.write().await,
            60..66 => {
                world.alerts += 1;
                world.nats.alert(&world.history, world.alerts).await;
            }
            66..78 => self.socket.cut(),
            78..84 => self.rewind(world).await,
            84..90 => self.join(world).await,
            90..95 => {
                // Asked before: while the answer is awaited, more may come that was not acknowledged.
                let is_of_now = self.socket.cursors.len() > self.since;
                self.socket.acknowledge().await.unwrap();
                self.acknowledged = is_of_now;
            }
            95..99 if self.acknowledged => {
                let gateway = world.gateway();
                self.socket.resume_from_acknowledged(gateway).await.unwrap();
                self.since = self.socket.cursors.len();
            }
            99 => world.kill_a_gateway(&mut self.socket).await,
            _ => {}
        }
    }

    async fn rewind(&mut self, world: &mut World) {
        let Some(cursor) = self.socket.cursors[self.since..].choose(&mut world.rng) else { return };
        self.socket.cursor = Some(cursor.clone());
        self.resume(world).await;
    }

    async fn resume(&mut self, world: &mut World) {
        let gateway = world.gateway();
        self.socket.resume(gateway).await.unwrap();
        self.since = self.socket.cursors.len();
    }

    async fn join(&mut self, world: &mut World) {
        let Some(channel) = self.unjoined.pop() else { return };
        while world.marker.next(Duration::from_millis(5)).await.is_ok() {}
        let cursor = world.marker.cursors.choose(&mut world.rng).unwrap().clone();
        let start = if world.rng.random_bool(0.8) { Start::Cursor(cursor) } else { Start::Now };
        self.socket.join(channel, start).await.unwrap();
        self.since = self.socket.cursors.len();
    }
}

async fn explore(seed: u64, within: Duration) {
    eprintln!("E2E_SEED={seed}");
    let mut world = World::begin(seed).await;
    let until = Instant::now() + within;
    let mut number = 0;
    while Instant::now() < until {
        number += 1;
        let mut explorer = Explorer::arrive(&mut world, &format!("explorer{number}")).await;
        let steps = world.rng.random_range(40..160);
        for _ in 0..steps {
            explorer.step(&mut world).await;
        }
        if !explorer.socket.is_open() {
            let gateway = world.gateway();
            explorer.socket.resume(gateway).await.unwrap();
        }
        explorer.socket.drain().await;
        world.history.assert_clean();
    }
    world.marker.drain().await;
    let verdict = world.history.assert_clean();
    eprintln!("{number} clients: {verdict}");
    world.platform.finish().await;
}

/// `E2E_SEED` repeats a run; `E2E_EXPLORE_SECONDS` makes it longer.
#[tokio::test]
async fn whatever_a_client_does_it_is_given_everything_once_and_in_order() {
    let number = |name: &str, otherwise: &str| -> u64 {
        let path = setting(name, otherwise);
        path.file_name().unwrap().to_str().unwrap().parse().unwrap()
    };
    let seconds = number("E2E_EXPLORE_SECONDS", "12");
    let seed = number("E2E_SEED", &rand::random::<u32>().to_string());
    journey(seconds + 90, explore(seed, Duration::from_secs(seconds))).await;
}

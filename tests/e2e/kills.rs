//! Every process is killed at random moments under load, connections are cut and taken over meanwhile;
//! the checker has the last word.

use std::time::Duration;

use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::time::Instant;

use crate::chaos::{Direction, Proxy};
use crate::checker::{History, Start};
use crate::clients::publisher::Publisher;
use crate::clients::scripts::setting;
use crate::clients::sse::EventSource;
use crate::clients::websocket::WebSocket;
use crate::harness::cast::{agent, calls, journey, source, team};
use crate::harness::{Options, Service, TestPlatform};

/// How long the killing goes on: `E2E_KILL_SECONDS`, else short enough for every change.
fn duration() -> u64 {
    setting("E2E_KILL_SECONDS", "20").file_name().unwrap().to_str().unwrap().parse().unwrap()
}

fn seed() -> u64 {
    let random = rand::random::<u32>().to_string();
    setting("E2E_SEED", &random).file_name().unwrap().to_str().unwrap().parse().unwrap()
}

async fn write(writer: &mut Publisher, platform: std::net::SocketAddr, until: Instant) {
    while Instant::now() < until {
        writer.insist(platform).await;
    }
}

/// Follows until `until`, coming back by any gateway, and cutting itself off now and then, whenever its connection ends.
async fn follow_socket(
    socket: &mut WebSocket,
    gateways: [std::net::SocketAddr; 2],
    until: Instant,
    rng: &mut StdRng,
) {
    while Instant::now() < until {
        if !socket.is_open() {
            let gateway = gateways[rng.random_range(0..2)];
            if socket.resume(gateway).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        }
        let _ = socket.next(Duration::from_millis(100)).await;
        if rng.random_ratio(1, 400) {
            socket.cut();
        }
        // The same client again, before anybody knows that the old connection is dead.
        if rng.random_ratio(1, 1000) {
            let _ = socket.resume(gateways[rng.random_range(0..2)]).await;
        }
    }
}

async fn follow_source(
    source: &mut EventSource,
    gateways: [std::net::SocketAddr; 2],
    until: Instant,
    rng: &mut StdRng,
) {
    while Instant::now() < until {
        if !source.is_open() {
            let gateway = gateways[rng.random_range(0..2)];
            if source.resume(gateway).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        }
        let _ = source.next(Duration::from_millis(100)).await;
    }
}

/// A network that cuts, freezes and slows down the line of one client.
async fn tear(proxy: &Proxy, until: Instant, rng: &mut StdRng) {
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(rng.random_range(50..600))).await;
        match rng.random_range(0..5) {
            0 => proxy.cut(),
            1 => proxy.cut_after(rng.random_range(1..20_000)),
            2 => proxy.black_hole(Direction::ToClient),
            3 => proxy.slice(rng.random_range(1..50)),
            _ => proxy.part(),
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(50..600))).await;
        proxy.heal();
    }
}

async fn kill_at_random(
    platform: &mut TestPlatform,
    history: &History,
    until: Instant,
    rng: &mut StdRng,
) {
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(rng.random_range(200..1200))).await;
        let down = Duration::from_millis(rng.random_range(0..300));
        let services = [Service::Ingest, Service::Gateway, Service::SecondGateway, Service::Replay];
        match rng.random_range(0..services.len() + 1) {
            4 => {
                history.fault("nats-server killed");
                platform.nats.kill().await;
                tokio::time::sleep(down).await;
                platform.nats.restart().await;
            }
            which => {
                history.fault(format!("{:?} killed", services[which]));
                platform.kill(services[which]);
                tokio::time::sleep(down).await;
                platform.begin_restart(services[which]);
            }
        }
    }
    history.fault("the killing is over");
}

#[tokio::test]
async fn random_kills_of_every_process_lose_and_repeat_nothing() {
    journey(duration() + 120, async {
        let seed = seed();
        eprintln!("E2E_SEED={seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let mut rngs: [StdRng; 6] = std::array::from_fn(|_| StdRng::seed_from_u64(rng.random()));
        let mut platform = TestPlatform::start_with(Options::default().two_gateways()).await;
        let history = History::new();
        let gateways = [platform.gateway(), platform.second_gateway()];
        let ingest = platform.ingest();
        let (mut ann, mut cat) = (agent(&history, "ann"), agent(&history, "cat"));
        let mut bob = source(&history, "bob", &["calls", "team"]);
        let mut eve = source(&history, "eve", &["calls", "team"]);
        let proxy = Proxy::start(gateways[0]).await;
        for socket in [&mut ann, &mut cat] {
            socket.connect(gateways[0]).await.unwrap();
            socket.join("calls", Start::Now).await.unwrap();
        }
        bob.connect(gateways[1], Start::Now).await.unwrap();
        eve.connect(proxy.address, Start::Now).await.unwrap();
        let (mut one, mut two) = (calls(&history, "c"), team(&history, "t"));
        // Everybody has a position to come back with.
        one.insist(ingest).await;
        two.insist(ingest).await;
        ann.receive(2).await;
        cat.receive(2).await;
        bob.receive(2).await;
        eve.receive(2).await;

        let until = Instant::now() + Duration::from_secs(duration());
        let after = until + Duration::from_secs(1);
        let [of_ann, of_cat, of_bob, of_eve, of_kills, of_tears] = &mut rngs;
        tokio::join!(
            write(&mut one, ingest, until),
            write(&mut two, ingest, until),
            follow_socket(&mut ann, gateways, after, of_ann),
            follow_socket(&mut cat, gateways, after, of_cat),
            follow_source(&mut bob, gateways, after, of_bob),
            follow_source(&mut eve, [proxy.address; 2], after, of_eve),
            tear(&proxy, until, of_tears),
            kill_at_random(&mut platform, &history, until, of_kills),
        );
        for service in [Service::Ingest, Service::Replay, Service::Gateway, Service::SecondGateway]
        {
            platform.ready(service).await;
        }
        for socket in [&mut ann, &mut cat] {
            socket.resume(gateways[0]).await.unwrap();
            socket.drain_patiently().await;
        }
        for source in [&mut bob, &mut eve] {
            source.resume(gateways[1]).await.unwrap();
            source.drain_patiently().await;
        }
        let mut everything = source(&history, "everything", &["calls", "team"]);
        everything.connect(gateways[1], Start::Earliest).await.unwrap();
        everything.drain_patiently().await;
        let verdict = history.assert_clean();
        eprintln!("{verdict}");
        assert!(verdict.ok > 50, "the load was none: {verdict}");
        platform.finish().await;
    })
    .await;
}

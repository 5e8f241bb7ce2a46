//! A reader that does not read costs a bounded amount of memory, holds up nobody, and loses nothing.

use std::time::Duration;

use crate::chaos::{Direction, Proxy};
use crate::checker::{History, Start};
use crate::harness::cast::{agent, calls, journey, source};
use crate::harness::{Service, TestPlatform};

const EVENTS: usize = 3000;

#[tokio::test]
async fn a_stalled_reader_holds_up_nobody_and_gets_everything_later() {
    journey(120, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let proxy = Proxy::start(platform.gateway()).await;
        let mut stalled: Vec<_> =
            (0..20).map(|n| source(&history, &format!("slow{n}"), &["calls"])).collect();
        for source in &mut stalled {
            source.connect(proxy.address, Start::Now).await.unwrap();
        }
        let mut healthy = agent(&history, "ann");
        healthy.connect(platform.gateway()).await.unwrap();
        healthy.join("calls", Start::Now).await.unwrap();
        let mut writer = calls(&history, "w");
        writer.publish(platform.ingest(), 100).await;
        healthy.receive(100).await;
        let before = platform.memory(Service::Gateway);
        proxy.black_hole(Direction::ToClient);
        writer.publish(platform.ingest(), EVENTS).await;
        healthy.receive_within(100 + EVENTS, Duration::from_secs(20)).await;
        let grown = platform.memory(Service::Gateway).saturating_sub(before);
        // The events themselves, once: far below a copy for each of the stalled readers.
        assert!(grown < 24 << 20, "{} MiB more", grown >> 20);
        proxy.heal();
        for source in &mut stalled {
            source.receive_within(100 + EVENTS, Duration::from_secs(20)).await;
            source.drain().await;
        }
        healthy.drain().await;
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_reader_on_a_thin_line_in_tiny_slices_gets_everything_in_order() {
    journey(120, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let proxy = Proxy::start(platform.gateway()).await;
        proxy.slice(7);
        proxy.throttle(60_000);
        let mut thin = source(&history, "thin", &["calls"]);
        thin.connect(proxy.address, Start::Now).await.unwrap();
        calls(&history, "w").publish(platform.ingest(), 300).await;
        tokio::time::timeout(Duration::from_secs(2), thin.end(Duration::from_secs(2))).await.ok();
        proxy.heal();
        thin.receive_within(300, Duration::from_secs(20)).await;
        thin.drain().await;
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}

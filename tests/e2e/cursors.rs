//! One position, every wire: a cursor from any of them goes on right after its event on each of them.

use crate::checker::{History, Start, Value};
use crate::clients::pages::Pages;
use crate::clients::token::token;
use crate::harness::cast::{agent, calls, journey, source, team};
use crate::harness::{Options, Service, TENANT, TestPlatform};

fn pages(history: &History, name: &str) -> Pages {
    Pages::new(history, name, &token(TENANT, name, "agent"), "calls")
}

#[tokio::test]
async fn a_cursor_of_any_wire_resumes_on_every_wire_right_after_its_event() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let gateway = platform.gateway();
        let mut socket = agent(&history, "ann");
        socket.connect(gateway).await.unwrap();
        socket.join("calls", Start::Now).await.unwrap();
        let mut events = source(&history, "bob", &["calls"]);
        events.connect(gateway, Start::Now).await.unwrap();
        calls(&history, "w").publish(platform.ingest(), 6).await;
        socket.receive(6).await;
        events.receive(6).await;
        let mut read = pages(&history, "cat");
        read.read(gateway, Start::Earliest, 4).await;
        assert_eq!(read.received, socket.received);
        for at in 0..6 {
            for (wire, told) in
                [("ws", &socket.cursors), ("sse", &events.cursors), ("http", &read.cursors)]
            {
                let name = format!("{wire}{at}");
                resume_everywhere(&platform, &history, &name, &told[at], &read.received[at + 1..])
                    .await;
            }
        }
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}

async fn resume_everywhere(
    platform: &TestPlatform,
    history: &History,
    name: &str,
    cursor: &str,
    rest: &[Value],
) {
    let (gateway, start) = (platform.gateway(), Start::Cursor(cursor.to_owned()));
    let mut socket = agent(history, &format!("{name}ws"));
    socket.connect(gateway).await.unwrap();
    socket.join("calls", start.clone()).await.unwrap();
    let mut by_query = source(history, &format!("{name}query"), &["calls"]);
    by_query.connect(gateway, start.clone()).await.unwrap();
    let mut by_header = source(history, &format!("{name}header"), &["calls"]);
    by_header.last_event_id = Some(cursor.to_owned());
    by_header.resume(gateway).await.unwrap();
    let mut read = pages(history, &format!("{name}page"));
    read.read(gateway, start, 2).await;
    socket.receive(rest.len()).await;
    by_query.receive(rest.len()).await;
    by_header.receive(rest.len()).await;
    for received in [&socket.received, &by_query.received, &by_header.received, &read.received] {
        assert_eq!(received, rest, "{name}");
    }
}

#[tokio::test]
async fn a_cursor_is_opaque_short_and_safe_in_a_url() {
    journey(30, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut socket = agent(&history, "ann");
        socket.connect(platform.gateway()).await.unwrap();
        socket.join("calls", Start::Now).await.unwrap();
        calls(&history, "w").publish(platform.ingest(), 3).await;
        socket.receive(3).await;
        for cursor in &socket.cursors {
            assert!(cursor.len() <= 120, "{cursor}");
            assert!(cursor.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b)));
        }
        socket.drain().await;
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_cursor_survives_the_rotation_of_the_platforms_key() {
    journey(30, async {
        let newest = "another-platform-key-0123456789abcdefghij";
        let options = Options::default()
            .two_gateways()
            .set(Service::SecondGateway, "PLATFORM_KEY", newest)
            .set(Service::SecondGateway, "PLATFORM_KEY_PREVIOUS", Options::PLATFORM_KEY);
        let (platform, history) = (TestPlatform::start_with(options).await, History::new());
        let mut events = source(&history, "bob", &["calls"]);
        events.connect(platform.gateway(), Start::Now).await.unwrap();
        let mut writer = calls(&history, "w");
        writer.publish(platform.ingest(), 3).await;
        events.receive(3).await;
        events.cut();
        writer.publish(platform.ingest(), 3).await;
        events.resume(platform.second_gateway()).await.unwrap();
        events.receive(6).await;
        events.drain().await;
        let verdict = history.assert_clean();
        assert_eq!(verdict.gaps, 0, "{verdict}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_cursor_brought_at_authentication_serves_the_channels_of_everybody() {
    journey(30, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut events = source(&history, "bob", &["team"]);
        events.connect(platform.gateway(), Start::Now).await.unwrap();
        let mut writer = team(&history, "t");
        writer.publish(platform.ingest(), 5).await;
        events.receive(5).await;
        let mut socket = agent(&history, "ann");
        socket.cursor = Some(events.cursors[1].clone());
        socket.arrive(platform.gateway()).await.unwrap();
        socket.receive(3).await;
        writer.publish(platform.ingest(), 1).await;
        socket.receive(4).await;
        socket.drain().await;
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn the_browsers_last_event_id_wins_over_the_address() {
    journey(30, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut events = source(&history, "bob", &["team"]);
        events.connect(platform.gateway(), Start::Earliest).await.unwrap();
        team(&history, "t").publish(platform.ingest(), 5).await;
        events.receive(5).await;
        // The address still says "from the earliest", as a browser repeats it.
        events.resume_with_address(platform.gateway(), "earliest").await.unwrap();
        events.drain().await;
        assert_eq!(events.received.len(), 5);
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}

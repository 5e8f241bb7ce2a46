//! The service's life: waiting, ready, stopped.

use std::time::Duration;

use ai_proxy::{Config, Listeners};
use bytes::Bytes;
use http::Request;
use runtime::http_client::{Client, Limits};
use runtime::test_support::TestNats;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Waits until `/readyz` answers with these words.
async fn readiness(base: &str, words: &str) {
    let client = Client::new(Limits::default()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let request = Request::get(format!("{base}/readyz")).body(Bytes::new()).unwrap();
        let text = match client.send(request).await {
            Ok(answer) => String::from_utf8_lossy(answer.body()).into_owned(),
            Err(error) => error.to_string(),
        };
        if text.contains(words) {
            return;
        }
        assert!(Instant::now() < deadline, "never {words}: {text}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_ready_once_its_durables_are_there_and_stops_when_told() {
    let mut nats = Box::pin(TestNats::start_empty()).await;
    let config = Config::read(&[
        ("NATS_URL", nats.url("ai-proxy").as_str()),
        ("PLATFORM_KEY", crate::harness::KEY),
    ])
    .unwrap();
    let ops = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", ops.local_addr().unwrap());
    let stop = CancellationToken::new();
    let service = runtime::tasks::owned(ai_proxy::run(config, Listeners { ops }, stop.clone()));
    readiness(&base, "\"ready\":false").await;
    Box::pin(nats.provision()).await;
    readiness(&base, "\"ready\":true").await;
    stop.cancel();
    assert!(service.join().await.unwrap().is_ok());
}

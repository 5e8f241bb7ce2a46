//! Waiting until every service says that it is ready, telling meanwhile what is missing.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use runtime::http_client::{Client, Limits};
use runtime::tasks::BoxError;
use serde_json::Value;
use tokio::time::Instant;

const PAUSE: Duration = Duration::from_millis(50);
/// How often to say what is waited for.
const TOLD_EVERY: Duration = Duration::from_secs(5);
const LIMITS: Limits = Limits { deadline: Duration::from_secs(2), max_body: 64 * 1024 };

/// Waits for all of them.
pub(crate) async fn wait(services: &[(&'static str, String)]) -> Result<(), BoxError> {
    let client = Client::new(LIMITS)?;
    let mut told = Instant::now();
    for (name, url) in services {
        while let Some(missing) = missing(&client, url).await {
            if told.elapsed() >= TOLD_EVERY {
                told = Instant::now();
                eprintln!("waiting for {name}: {missing}");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(())
}

/// What a service says is missing; `None` once it is ready.
async fn missing(client: &Client, url: &str) -> Option<String> {
    let request = Request::get(format!("{url}/readyz")).body(Bytes::new()).ok()?;
    match client.send(request).await {
        Ok(answer) if answer.status().is_success() => None,
        Ok(answer) => {
            let answer: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
            let missing = answer.get("missing").and_then(Value::as_array).cloned();
            let words = missing.unwrap_or_default();
            let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
            Some(words.join(", "))
        }
        Err(error) => Some(error.to_string()),
    }
}

//! Health checks for containers that hold no other HTTP client.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use runtime::http_client::{Client, Limits};

use crate::failure::Failure;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// For example http://127.0.0.1:9080/readyz
    url: String,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let limits = Limits { deadline: Duration::from_secs(2), max_body: 64 * 1024 };
    let request = Request::get(&arguments.url)
        .body(Bytes::new())
        .map_err(|error| Failure::Usage(error.to_string()))?;
    let client = Client::new(limits).map_err(|error| Failure::failed("TLS", error))?;
    let answer =
        client.send(request).await.map_err(|error| Failure::failed(&arguments.url, error))?;
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    if answer.status().is_success() {
        crate::table::line(text.trim_end())
    } else {
        Err(Failure::Failed(format!("{}: {}", answer.status(), text.trim_end())))
    }
}

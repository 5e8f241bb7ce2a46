//! Pages of a channel that holds one in a thousand of a large stream's events. The floor answers a page of the same
//! size from memory.

use std::net::SocketAddr;
use std::time::Instant;

use domain::Role;

use crate::bench::http1::Connection;
use crate::bench::platform::{Platform, floor};
use crate::bench::publisher::{campaign_of_1000, per_million, publish};
use crate::bench::report::{Goal, Report, percentile};
use crate::bench::{float, told};
use crate::failure::Failure;

const CHANNELS: usize = 1_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Events in the stream
    #[arg(long, default_value_t = 500_000)]
    events: usize,
    /// Events of a page
    #[arg(long, default_value_t = 500)]
    page: usize,
    /// Pages to ask for, each of another channel
    #[arg(long, default_value_t = 500)]
    pages: usize,
}

pub(crate) async fn run(options: Options) -> Result<Report, Failure> {
    let platform = Platform::start().await?;
    let token = platform.token(Role::Service)?;
    publish(platform.ingest, &token, "history", options.events, campaign_of_1000).await?;
    let headers = format!("authorization: Bearer {}\r\n", platform.token(Role::Admin)?);
    let cpu = platform.cpu_of("gateway") + platform.cpu_of("replay");
    let path = |page: usize| {
        let channel = page * 7 % CHANNELS;
        format!(
            "/v1/history?channel=campaign:bench-{channel}&after=earliest&limit={}",
            options.page
        )
    };
    let (latencies, size) = ask(platform.gateway, &headers, options.pages, path).await?;
    let cpu = platform.cpu_of("gateway") + platform.cpu_of("replay") - cpu;
    platform.stop().await;
    let (_child, address) = floor(&["page".to_owned(), size.to_string()]).await?;
    let (bare, _) = ask(address, &headers, options.pages, path).await?;
    let mut report = Report::new("history pages");
    report.add("events in the stream", float(options.events), "");
    report.add("events of a page", float(options.page), "");
    report.add("bytes of a page", float(size), "B");
    report.add("p50", percentile(&latencies, 50), "ms");
    report.goal("p99", percentile(&latencies, 99), "ms", Goal::AtMost(20.0));
    report.add("gateway and replay", per_million(cpu, options.pages) / 1e3, "CPU ms per page");
    report.add("floor, p50", percentile(&bare, 50), "ms");
    report.add("floor, p99", percentile(&bare, 99), "ms");
    let (p50, floor) = (percentile(&latencies, 50), percentile(&bare, 50));
    report.ratio("ratio to the floor, p50", p50, floor);
    Ok(report)
}

/// Latencies in milliseconds, sorted, and the size of the last page.
async fn ask(
    address: SocketAddr,
    headers: &str,
    pages: usize,
    path: impl Fn(usize) -> String,
) -> Result<(Vec<f64>, usize), Failure> {
    let mut connection = Connection::open(address).await.map_err(told)?;
    let (mut latencies, mut size) = (Vec::with_capacity(pages), 0);
    for page in 0..pages {
        let started = Instant::now();
        let line = format!("GET {}", path(page));
        let answer = connection.request(&line, headers, b"").await.map_err(told)?;
        if answer.status != 200 {
            let text = String::from_utf8_lossy(answer.body).into_owned();
            return Err(Failure::Failed(format!("a page was answered {}: {text}", answer.status)));
        }
        latencies.push(started.elapsed().as_secs_f64() * 1e3);
        size = answer.body.len();
    }
    latencies.sort_by(f64::total_cmp);
    Ok((latencies, size))
}

//! Puts events into the platform through ingest, in batches over a few connections.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::bench::http1::Connection;
use crate::bench::{float, told};
use crate::failure::Failure;

const CONNECTIONS: usize = 4;
const BATCH: usize = 100;

/// One event as the `type` and the `data` of a CloudEvent; the number tells it apart.
pub(crate) type Template = fn(usize) -> (&'static str, String);

/// A call's change of about 200 bytes, to everybody who follows the calls.
pub(crate) fn call(number: usize) -> (&'static str, String) {
    let data = format!(
        r#"{{"callSid":"CA{number:032x}","status":"in-progress","direction":"outbound-api","from":"+15005550006","to":"+14155551212","sequence":2,"agentId":"agent-7","provider":"twilio"}}"#
    );
    ("call.update", data)
}

/// A metric to everybody at the dashboard, of about 200 bytes as a frame.
pub(crate) fn metric(number: usize) -> (&'static str, String) {
    let data = format!(r#"{{"type":"voice_call","calls":{number},"duration":3600,"cost":45.5}}"#);
    ("metric.update", data)
}

/// Progress of one of a thousand campaigns in turn; each has a channel of its own.
pub(crate) fn campaign_of_1000(number: usize) -> (&'static str, String) {
    campaign(number % 1_000, number / 1_000)
}

/// The same for a hundred.
pub(crate) fn campaign_of_100(number: usize) -> (&'static str, String) {
    campaign(number % 100, number / 100)
}

/// Ingest keeps a campaign's progress once every hundred messages, so it goes on by as many.
fn campaign(which: usize, sent: usize) -> (&'static str, String) {
    let sent = (sent + 1) * 100;
    let data = format!(
        r#"{{"campaignId":"bench-{which}","progress":{{"sent":{sent},"total":100000000,"percentage":0,"failed":0}}}}"#
    );
    ("campaign.progress", data)
}

/// Publishes `count` events and waits until all are stored. `run` tells one series of ids from the others.
pub(crate) async fn publish(
    ingest: SocketAddr,
    token: &str,
    run: &str,
    count: usize,
    template: Template,
) -> Result<(), Failure> {
    let next = Arc::new(AtomicUsize::new(0));
    let progress = bar(count);
    let mut connections = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let headers = headers(token);
        let work = Work { next: Arc::clone(&next), run: run.to_owned(), count, template };
        connections.spawn(work.send(ingest, headers, progress.clone()));
    }
    while let Some(done) = connections.join_next().await {
        done.map_err(|error| Failure::failed("the publisher", error))??;
    }
    progress.finish_and_clear();
    Ok(())
}

struct Work {
    next: Arc<AtomicUsize>,
    run: String,
    count: usize,
    template: Template,
}

impl Work {
    async fn send(
        self,
        ingest: SocketAddr,
        headers: String,
        progress: ProgressBar,
    ) -> Result<(), Failure> {
        let mut connection = Connection::open(ingest).await.map_err(told)?;
        loop {
            let first = self.next.fetch_add(BATCH, Ordering::Relaxed);
            let last = (first + BATCH).min(self.count);
            if first >= last {
                return Ok(());
            }
            self.put(&mut connection, &headers, first..last).await?;
            progress.inc(u64::try_from(last - first).unwrap_or_default());
        }
    }

    async fn put(
        &self,
        connection: &mut Connection,
        headers: &str,
        numbers: Range<usize>,
    ) -> Result<(), Failure> {
        let events: Vec<String> = numbers.map(|number| self.event(number)).collect();
        let body = format!("[{}]", events.join(","));
        let sent = connection.request("POST /v1/events", headers, body.as_bytes());
        let answer = sent.await.map_err(told)?;
        if answer.status != 200 && answer.status != 202 {
            let text = String::from_utf8_lossy(answer.body).into_owned();
            return Err(Failure::Failed(format!("ingest answered {}: {text}", answer.status)));
        }
        Ok(())
    }

    fn event(&self, number: usize) -> String {
        let (event_type, data) = (self.template)(number);
        let run = &self.run;
        format!(
            r#"{{"specversion":"1.0","id":"{run}-{number}","source":"bench","type":"{event_type}","data":{data}}}"#
        )
    }
}

/// Publishes at a steady rate a second for a time, in a batch every ten milliseconds.
pub(crate) async fn pace(
    ingest: SocketAddr,
    token: &str,
    run: &str,
    (rate, during): (u32, Duration),
    template: Template,
) -> Result<(), Failure> {
    let headers = headers(token);
    let mut connection = Connection::open(ingest).await.map_err(told)?;
    let work = Work { next: Arc::default(), run: run.to_owned(), count: usize::MAX, template };
    let mut ticks = interval(Duration::from_millis(10));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (started, mut sent) = (Instant::now(), 0);
    while started.elapsed() < during {
        ticks.tick().await;
        let due = (f64::from(rate) * started.elapsed().as_secs_f64()).round();
        while float(sent) < due {
            let last = (sent + BATCH).min(sent + whole(due - float(sent)));
            work.put(&mut connection, &headers, sent..last).await?;
            sent = last;
        }
    }
    Ok(())
}

/// A small positive number of events; none here comes near the limit of exactness.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
fn whole(events: f64) -> usize {
    events.max(1.0) as usize
}

fn headers(token: &str) -> String {
    format!("authorization: Bearer {token}\r\ncontent-type: application/cloudevents-batch+json\r\n")
}

/// On a terminal; elsewhere it draws nothing.
fn bar(count: usize) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(count).unwrap_or_default());
    let style = ProgressStyle::with_template("publishing {bar:40} {pos}/{len} {per_sec}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Per million.
pub(crate) fn per_million(amount: f64, count: usize) -> f64 {
    if count == 0 { 0.0 } else { amount * 1e6 / float(count) }
}

//! Measures the channel index: memory per entry, build rate, snapshot, and a page of a channel that holds one event
//! in a thousand. `cargo run --release -p replay --example index_bench [events]`
#![expect(clippy::print_stdout, reason = "printing is what a benchmark is for")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use domain::replay::{ChannelRange, RefsRequest};
use domain::{StreamId, Tenant};
use replay::index::Index;

const CALLS: usize = 10_000;
const SPARSE: usize = 1_000;
const QUESTIONS: usize = 5_000;
const EVERYTHING: [u64; domain::stream::COUNT] = [u64::MAX; domain::stream::COUNT];

fn main() {
    let events = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(500_000);
    let resident = resident();
    let begun = Instant::now();
    let index = build(events);
    let took = begun.elapsed();
    let size = index.size();
    let entries = events * 2 + events / SPARSE;
    println!("{events} events, {entries} entries in {} channels", size.channels);
    println!("built at {:.2} M events/s", events as f64 / took.as_secs_f64() / 1e6);
    println!(
        "{:.1} bytes an entry counted, {:.1} resident",
        size.bytes as f64 / entries as f64,
        (self::resident() - resident) as f64 / entries as f64
    );
    pages(&index, "page of 500 of a channel with 1 in 1,000", &["user:7"], 0, 500);
    pages(&index, "page of 1,000 of a channel with every event", &["calls"], events / 2, 1_000);
    let many: Vec<String> = (0..50).map(|call| format!("call:{call}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    pages(&index, "page of 100 of 50 channels", &many, events / 2, 100);
    pages(&index, "nothing new in 50 channels", &many, events, 100);
}

fn build(events: usize) -> Index {
    let mut index = Index::default();
    for event in 0..events {
        let call = format!("call:{}", event % CALLS);
        let sparse = event.is_multiple_of(SPARSE).then_some("user:7");
        let channels = ["calls", call.as_str()].into_iter().chain(sparse);
        let stored_at = 1_700_000_000_000 + event as i64;
        index.push(StreamId::Calls, event as u64 + 1, stored_at, "acme", channels);
    }
    index
}

/// From the question's bytes to the answer's, as the service does it.
fn pages(index: &Index, name: &str, channels: &[&str], after: usize, limit: usize) {
    let Ok(acme) = Tenant::parse("acme") else { return };
    let range = |channel: &&str| ChannelRange {
        channel: (*channel).to_owned(),
        after: [after as u64; domain::stream::COUNT],
    };
    let request = RefsRequest {
        channels: channels.iter().map(range).collect(),
        upto: EVERYTHING,
        limit,
        newest_first: false,
    };
    let question = serde_json::to_vec(&request).unwrap_or_default();
    let mut took: Vec<Duration> = Vec::with_capacity(QUESTIONS);
    let mut found = 0;
    for _ in 0..QUESTIONS {
        let begun = Instant::now();
        if let Ok(request) = serde_json::from_slice(black_box(&question)) {
            let answer = index.refs(&acme, &request);
            found = answer.refs.len();
            black_box(serde_json::to_vec(&answer).unwrap_or_default());
        }
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    let (middle, slow) = (took[QUESTIONS / 2], took[QUESTIONS * 99 / 100]);
    println!("{name}: {found} refs, p50 {middle:?}, p99 {slow:?}");
}

/// Resident bytes of this process.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * 4_096
}

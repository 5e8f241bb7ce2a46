//! What remembering message ids costs: bytes per event, nanoseconds per lookup.
//!
//! `cargo run --release -p ingest --example idempotency -- [events] [budget in MiB]`

use std::hash::{BuildHasher as _, RandomState};
use std::hint::black_box;
use std::time::Instant;

use ingest::idempotency::{Index, Segment, Shape};

const DAYS: u64 = 3;

#[expect(clippy::print_stdout, reason = "it is what the example is for")]
fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|text| text.parse::<u64>().ok());
    let events = arguments.next().unwrap_or(20_000_000);
    let budget = arguments.next().unwrap_or(256) as usize * 1024 * 1024;
    let hashes = RandomState::new();
    let id = |n: u64| format!("acme:/webhooks/acme-twilio:CA{n:032x}:{}", n % 8);
    let mut index = Index::new(Shape::for_memory(budget));

    let (mut merging, started) = (std::time::Duration::ZERO, Instant::now());
    let step = DAYS * 86_400_000 / events.max(1);
    for n in 1..=events {
        index.insert(hashes.hash_one(id(n).as_str()), n, (n * step) as i64);
        if n % 32_768 == 0 {
            let began = Instant::now();
            while let Some(parts) = index.due_merge() {
                let Some(merged) = Segment::merge(&parts) else { break };
                index.replace(&parts, merged);
            }
            merging += began.elapsed();
        }
    }
    let each = |time: std::time::Duration, count: u64| time.as_nanos() as f64 / count as f64;
    println!("events               {events}");
    println!("segments             {}", index.segments());
    println!("bytes per event      {:.2}", index.bytes() as f64 / events as f64);
    println!("insert, ns           {:.0}", each(started.elapsed() - merging, events));
    println!("merge, ns per event  {:.0}", each(merging, events));
    for (what, first) in [("miss", events + 1), ("hit", 1)] {
        let probes = 1_000_000.min(events);
        // Spread over the whole range, so that no cache line is met twice by design.
        let ids: Vec<_> = (0..probes).map(|n| id(first + n * (events / probes))).collect();
        // The median of small groups: on a shared machine the mean tells about the neighbours.
        let mut groups: Vec<_> = ids
            .chunks(500)
            .map(|group| {
                let began = Instant::now();
                for id in group {
                    black_box(index.candidates(hashes.hash_one(id.as_str())));
                }
                each(began.elapsed(), group.len() as u64)
            })
            .collect();
        groups.sort_by(f64::total_cmp);
        println!("lookup, ns ({what:4})    {:.0}", groups[groups.len() / 2]);
    }
}

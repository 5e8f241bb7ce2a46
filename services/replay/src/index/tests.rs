use std::collections::HashMap;

use domain::StreamId::{Calls, Crisis};
use domain::{StreamId, Tenant};
use proptest::prelude::*;

use super::*;

const EVERYTHING: Sequences = [u64::MAX; domain::stream::COUNT];
const CHANNELS: [&str; 4] = ["calls", "call:1", "call:2", "admin"];
const TENANTS: [&str; 2] = ["acme", "ezri"];

#[derive(Clone, Debug)]
struct Stored {
    stream: usize,
    sequence: u64,
    stored_at: i64,
    tenant: &'static str,
    channels: Vec<&'static str>,
}

/// The log as a list, and what has been removed from its beginning.
#[derive(Default)]
struct Naive {
    events: Vec<Stored>,
    first: Sequences,
}

impl Naive {
    fn asked<'a>(&'a self, tenant: &'a str, request: &'a RefsRequest) -> Vec<&'a Stored> {
        let wanted = move |event: &&Stored| {
            let reaches = |range: &ChannelRange| {
                event.channels.contains(&range.channel.as_str())
                    && event.sequence > range.after[event.stream]
            };
            event.tenant == tenant
                && event.sequence >= self.first[event.stream]
                && event.sequence <= request.upto[event.stream]
                && request.channels.iter().any(reaches)
        };
        let mut events: Vec<&Stored> = self.events.iter().filter(wanted).collect();
        events.sort_by_key(|event| (event.stored_at, event.stream, event.sequence));
        events
    }

    fn removed(&self, tenant: &str, range: &ChannelRange) -> Sequences {
        let mut highest = Sequences::default();
        for event in &self.events {
            if event.tenant == tenant
                && event.channels.contains(&range.channel.as_str())
                && event.sequence < self.first[event.stream]
            {
                highest[event.stream] = highest[event.stream].max(event.sequence);
            }
        }
        highest
    }
}

fn tenant(name: &str) -> Tenant {
    Tenant::parse(name).unwrap()
}

fn ranges(channels: &[(&str, Sequences)]) -> Vec<ChannelRange> {
    channels
        .iter()
        .map(|(channel, after)| ChannelRange { channel: (*channel).into(), after: *after })
        .collect()
}

fn ask(channels: &[(&str, Sequences)]) -> RefsRequest {
    RefsRequest { channels: ranges(channels), upto: EVERYTHING, limit: 100, newest_first: false }
}

prop_compose! {
    fn log()(
        steps in prop::collection::vec(
            (0usize..5, 0i64..3, 0usize..2, prop::collection::vec(0usize..4, 0..3)), 0..300)
    ) -> Vec<Stored> {
        let (mut at, mut heads) = (1_000, [0u64; 5]);
        steps.into_iter().map(|(stream, pause, tenant, channels)| {
            at += pause;
            heads[stream] += 1;
            let mut channels: Vec<_> = channels.into_iter().map(|c| CHANNELS[c]).collect();
            channels.dedup();
            Stored { stream, sequence: heads[stream], stored_at: at, tenant: TENANTS[tenant], channels }
        }).collect()
    }
}

prop_compose! {
    fn request()(
        asked in prop::collection::vec((0usize..4, prop::array::uniform5(0u64..40)), 1..5),
        upto in prop::array::uniform5(0u64..90),
        limit in 1usize..40,
        newest_first: bool,
    ) -> RefsRequest {
        let named: Vec<_> = asked.into_iter().map(|(c, after)| (CHANNELS[c], after)).collect();
        RefsRequest { channels: ranges(&named), upto, limit, newest_first }
    }
}

fn indexed(events: &[Stored]) -> Index {
    let mut index = Index::default();
    for e in events {
        let stream = StreamId::from_index(e.stream).unwrap();
        index.push(stream, e.sequence, e.stored_at, e.tenant, e.channels.iter().copied());
    }
    index
}

/// Every page, asked for as the gateway does: the last sequence got in each stream bounds the next request.
fn all_pages(index: &Index, tenant: &Tenant, mut request: RefsRequest) -> Vec<EventRef> {
    let mut got = Vec::new();
    loop {
        let answer = index.refs(tenant, &request);
        assert!(answer.refs.len() <= request.limit);
        assert!(answer.refs.len() == request.limit || !answer.more, "a short page is the last");
        for found in &answer.refs {
            let s = found.stream as usize;
            if request.newest_first {
                request.upto[s] = found.sequence - 1;
            } else {
                for range in &mut request.channels {
                    range.after[s] = range.after[s].max(found.sequence);
                }
            }
        }
        got.extend(answer.refs);
        if !answer.more {
            return got;
        }
    }
}

proptest! {
    #[test]
    fn page_after_page_gives_exactly_what_a_full_scan_gives(
        events in log(), request in request(), removed in prop::array::uniform5(0u64..30),
        sweep: bool, reload: bool,
    ) {
        let mut index = indexed(&events);
        let mut naive = Naive { events, first: [1; 5] };
        for stream in StreamId::ALL {
            let s = stream.index();
            naive.first[s] = removed[s].min(index.heads()[s] + 1).max(1);
            index.truncate(stream, naive.first[s]);
            if sweep {
                index.stream_mut(stream).sweep();
            }
            if reload {
                let bytes = snapshot::seal(snapshot::encode(stream, index.stream(stream)));
                index.replace(stream, snapshot::decode(stream, &bytes).unwrap());
            }
        }
        for name in TENANTS {
            let mut expected: Vec<EventRef> = naive.asked(name, &request).into_iter()
                .map(|e| event_ref((e.stream, e.sequence, e.stored_at))).collect();
            if request.newest_first {
                expected.reverse();
            }
            prop_assert_eq!(all_pages(&index, &tenant(name), request.clone()), expected);
            let told: HashMap<String, Sequences> = index.refs(&tenant(name), &request).removed
                .into_iter().map(|r| (r.channel, r.highest)).collect();
            for range in &request.channels {
                let highest = naive.removed(name, range);
                let lost = (0..5).any(|s| range.after[s] < highest[s]);
                let same = request.channels.iter().filter(|r| r.channel == range.channel).count();
                if same == 1 {
                    prop_assert_eq!(told.get(&range.channel), lost.then_some(&highest));
                }
            }
        }
    }

    #[test]
    fn the_position_of_a_moment_splits_the_log_by_stored_time(events in log(), at in 990i64..1_700) {
        let index = indexed(&events);
        let mut expected = Sequences::default();
        for event in events.iter().filter(|event| event.stored_at <= at) {
            expected[event.stream] = expected[event.stream].max(event.sequence);
        }
        prop_assert_eq!(index.position_at(at).sequences, expected);
    }

    #[test]
    fn a_damaged_snapshot_is_refused(events in log(), place: prop::sample::Index, bit in 0u8..8) {
        let index = indexed(&events);
        let mut bytes = snapshot::seal(snapshot::encode(Calls, index.stream(Calls)));
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        prop_assert!(snapshot::decode(Calls, &bytes).is_err());
        prop_assert!(snapshot::decode(Calls, &bytes[..place]).is_err());
    }
}

#[test]
fn a_snapshot_of_another_stream_or_version_is_refused() {
    let index = Index::default();
    let mut bytes = snapshot::seal(snapshot::encode(Calls, index.stream(Calls)));
    assert_eq!(snapshot::decode(Crisis, &bytes).unwrap_err(), snapshot::Unreadable::Stream);
    bytes[0] += 1;
    assert_eq!(snapshot::decode(Calls, &bytes).unwrap_err(), snapshot::Unreadable::Version);
}

#[test]
fn only_channels_that_lost_events_are_told_and_still_are_when_they_are_empty() {
    let mut index = Index::default();
    for sequence in 1..=30_000 {
        let channel = if sequence == 20_000 { "quiet" } else { "busy" };
        index.push(Calls, sequence, sequence as i64, "acme", [channel]);
    }
    index.truncate(Calls, 20_000);
    let asked = ask(&[("busy", [19_000; 5]), ("quiet", [0; 5]), ("never", [0; 5])]);
    let removed = index.refs(&tenant("acme"), &asked).removed;
    assert_eq!(removed, [RemovedChannel { channel: "busy".into(), highest: [19_999, 0, 0, 0, 0] }]);
    index.truncate(Calls, 30_001);
    let removed = index.refs(&tenant("acme"), &asked).removed;
    let highest: Vec<u64> = removed.iter().map(|removed| removed.highest[0]).collect();
    assert_eq!(highest, [30_000, 20_000]);
    assert_eq!(index.size().channels, 0, "emptied channels are let go");
    assert!(index.refs(&tenant("ezri"), &asked).removed.is_empty());
    let caught_up = ask(&[("busy", [30_000; 5]), ("quiet", [20_000; 5])]);
    assert!(index.refs(&tenant("acme"), &caught_up).removed.is_empty());
}

#[test]
fn what_was_removed_unseen_may_have_been_anybodys() {
    let mut index = Index::default();
    index.push(Calls, 501, 1, "acme", ["calls"]);
    let told = |index: &Index, channel: &str, after: u64| {
        !index.refs(&tenant("acme"), &ask(&[(channel, [after; 5])])).removed.is_empty()
    };
    assert!(told(&index, "calls", 499) && told(&index, "other", 0));
    assert!(!told(&index, "calls", 500) && !told(&index, "other", 500));
    index.skip_to(Calls, 600);
    assert_eq!(index.heads()[0], 600);
    assert!(told(&index, "other", 599) && !told(&index, "other", 600));
}

#[test]
fn an_event_below_the_head_is_known_already() {
    let mut index = Index::default();
    index.push(Calls, 1, 1, "acme", ["a"]);
    index.push(Calls, 2, 1, "acme", ["a", "a"]);
    index.push(Calls, 2, 1, "acme", ["a"]);
    assert_eq!(index.refs(&tenant("acme"), &ask(&[("a", [0; 5])])).refs.len(), 2);
    index.reset(Calls, 7);
    assert_eq!((index.heads()[0], index.stream(Calls).epoch()), (0, 7));
}

#[test]
fn an_answer_is_bounded_whatever_is_asked_for() {
    let mut index = Index::default();
    (1..=2_000).for_each(|sequence| index.push(Calls, sequence, 1, "acme", ["a"]));
    let request = RefsRequest { limit: usize::MAX, ..ask(&[("a", [0; 5])]) };
    let answer = index.refs(&tenant("acme"), &request);
    assert!(answer.refs.len() == MAX_REFS && answer.more);
}

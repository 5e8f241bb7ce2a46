use domain::views::{Event, View, find};
use domain::{StreamId, Tenant};
use serde_json::json;

use super::super::folded::{Folded, views_of};
use super::{Unreadable, decode, encode};
use crate::index::snapshot::seal;

const STREAM: StreamId = StreamId::Calls;

fn folded(events: u64) -> Folded {
    let mut folded = Folded::new(STREAM, views_of(STREAM), 7);
    go_on(&mut folded, 1, events);
    folded
}

fn go_on(folded: &mut Folded, from: u64, to: u64) {
    for sequence in from..=to {
        let tenant = Tenant::parse(if sequence % 3 == 0 { "globex" } else { "acme" }).unwrap();
        let status = ["ringing", "in-progress", "completed"][sequence as usize % 3];
        let data =
            json!({ "callSid": format!("CA{}", sequence / 4), "status": status }).to_string();
        let event = Event {
            kind: "call.update",
            id: "e",
            sequence,
            time: "2026-01-02T03:04:05.678Z",
            channels: "",
            data: data.as_bytes(),
        };
        folded.fold(sequence, 5, Some((&tenant, event)));
    }
}

fn digests(folded: &Folded) -> Vec<[u8; 32]> {
    folded.views().iter().map(|view| folded.digest(view.name)).collect()
}

#[test]
fn a_snapshot_goes_on_as_what_it_was_taken_of() {
    let mut whole = folded(100);
    let bytes = seal(encode(&whole));
    let mut loaded = decode(STREAM, &views_of(STREAM), &bytes).unwrap();
    assert!(loaded.outdated.is_empty());
    assert_eq!((loaded.folded.head(), loaded.folded.epoch()), (100, 7));
    for folded in [&mut whole, &mut loaded.folded] {
        go_on(folded, 90, 200);
    }
    assert_eq!(digests(&whole), digests(&loaded.folded));
    assert!(whole.is_same(&loaded.folded, "calls"));
    assert_ne!(digests(&whole), digests(&folded(199)));
    assert!(!whole.is_same(&folded(199), "calls"));
}

#[test]
fn what_cannot_be_trusted_is_refused() {
    let bytes = seal(encode(&folded(20)));
    let views = views_of(STREAM);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(decode(STREAM, &views, &changed).is_err(), "{at}");
        assert!(decode(STREAM, &views, &bytes[..at]).is_err(), "cut at {at}");
    }
    let other = StreamId::Activity;
    let refused = decode(other, &views_of(other), &bytes).unwrap_err();
    assert_eq!(refused, Unreadable::Stream);
}

#[test]
fn a_view_of_another_version_keeps_its_rows_and_a_new_one_is_told_to_be_missing() {
    let calls = find("calls").unwrap();
    let older: &'static View = Box::leak(Box::new(View { version: calls.version + 1, ..*calls }));
    let mut written = Folded::new(STREAM, [older].into(), 7);
    go_on(&mut written, 1, 30);
    let bytes = seal(encode(&written));
    let views = views_of(STREAM);
    let loaded = decode(STREAM, &views, &bytes).unwrap();
    assert_eq!(loaded.outdated, ["calls"]);
    let missing: Vec<_> = super::missing(&loaded.folded).iter().map(|view| view.name).collect();
    assert_eq!(missing, ["active-calls", "call-metrics"]);

    let mut live = loaded.folded;
    live.complete(&views, loaded.outdated);
    assert!(live.is_pending("active-calls") && !live.is_pending("calls"));
    assert!(live.is_same(&folded(30), "calls"), "another version is not compared");
    let tenant = Tenant::parse("acme").unwrap();
    assert!(live.table(&tenant, "calls").unwrap().count() > 0, "and serves meanwhile");
    live.take_over(folded(30));
    assert!(!live.is_pending("active-calls"));
    assert_eq!(digests(&live), digests(&folded(30)));
}

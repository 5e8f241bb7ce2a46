//! The tail's bounds and its answers about positions.

use std::sync::Arc;

use domain::position::{Position, StreamPosition};
use domain::{Channel, StreamId};

use super::Tail;
use crate::entry::Entry;
use crate::session::test_support::{catalogue, event, tenant};

fn tail(limit: usize) -> Tail {
    Tail::new(Position::default(), limit)
}

fn push(tail: &mut Tail, stream: StreamId, sequence: u64) {
    let entry: Arc<Entry> = event(stream, sequence, &["a"], &catalogue());
    tail.push(entry);
}

fn at(calls: u64, messages: u64) -> Position {
    let mut position = Position::default();
    let stream = |sequence| StreamPosition { epoch: 0, sequence, fingerprint: 0 };
    position.set(StreamId::Calls, stream(calls));
    position.set(StreamId::Messages, stream(messages));
    position
}

#[test]
fn a_position_is_located_right_before_the_first_entry_it_lacks() {
    let mut tail = tail(1 << 20);
    for (stream, sequence) in [
        (StreamId::Calls, 1),
        (StreamId::Messages, 1),
        (StreamId::Messages, 2),
        (StreamId::Calls, 2),
    ] {
        push(&mut tail, stream, sequence);
    }
    assert_eq!(tail.locate(&at(0, 0)), Some(0));
    assert_eq!(tail.locate(&at(2, 0)), Some(1));
    assert_eq!(tail.locate(&at(1, 2)), Some(3));
    assert_eq!(tail.locate(&at(2, 2)), Some(4));
    assert_eq!(tail.locate(&at(9, 9)), Some(4));
}

#[test]
fn it_stays_within_its_bound_and_says_what_it_lost() {
    let mut tail = tail(2_000);
    let topic = tail.subscribe(&tenant(), &Channel::parse("a").unwrap());
    for sequence in 1..=100 {
        push(&mut tail, StreamId::Calls, sequence);
    }
    assert!(tail.bytes <= 2_000 && tail.slots.len() < 10);
    assert_eq!(tail.locate(&at(50, 0)), None);
    assert!(tail.topic(topic).unwrap().missed(50));
    assert!(!tail.topic(topic).unwrap().missed(tail.last()));
    assert!(tail.find(StreamId::Calls, 100).is_some() && tail.find(StreamId::Calls, 1).is_none());
}

#[test]
fn a_channel_without_entries_and_subscribers_is_forgotten() {
    let mut tail = tail(1_000);
    let channel = Channel::parse("b").unwrap();
    tail.subscribe(&tenant(), &channel);
    assert!(tail.topic_of(&tenant(), &channel).is_some());
    tail.unsubscribe(&tenant(), &channel);
    assert!(tail.topic_of(&tenant(), &channel).is_none());
}

use std::hash::{BuildHasher, RandomState};

use super::*;

fn shape() -> Shape {
    Shape { seal_count: 1_000, seal_age: HOUR, fan_in: 4, largest: 64_000, widest: 18 * HOUR }
}

fn merge_all(index: &mut Index) {
    while let Some(parts) = index.due_merge() {
        let merged = Segment::merge(&parts).unwrap();
        index.replace(&parts, merged);
    }
}

fn filled(shape: Shape, hashes: &RandomState, count: u64) -> Index {
    let mut index = Index::new(shape);
    for n in 1..=count {
        index.insert(hashes.hash_one(n), n, 1_000_000 + n as i64);
        if n % 1_000 == 0 {
            merge_all(&mut index);
        }
    }
    index
}

#[test]
fn every_stored_id_is_found_at_its_sequence_through_seals_and_merges() {
    let hashes = RandomState::new();
    let index = filled(shape(), &hashes, 50_500);
    assert!(index.segments() <= 12, "{}", index.segments());
    assert_eq!(index.len(), 50_500);
    for n in 1..=50_500_u64 {
        assert!(index.candidates(hashes.hash_one(n)).contains(&n), "{n}");
    }
}

#[test]
fn an_unknown_id_is_hardly_ever_taken_for_a_known_one() {
    let hashes = RandomState::new();
    let index = filled(shape(), &hashes, 50_000);
    let hits = (1_000_000..1_200_000_u64)
        .filter(|n| !index.candidates(hashes.hash_one(n)).is_empty())
        .count();
    assert!(hits <= 2, "{hits}");
}

#[test]
fn an_hour_seals_whatever_the_count() {
    let mut index = Index::new(shape());
    index.insert(1, 1, 0);
    assert_eq!(index.segments(), 0);
    index.insert(2, 2, HOUR);
    assert_eq!(index.segments(), 1);
}

#[test]
fn the_first_of_two_messages_with_one_id_is_kept() {
    let mut index = Index::new(shape());
    index.insert(7, 1, 0);
    index.insert(7, 2, 1);
    assert_eq!(index.candidates(7), [1]);
}

#[test]
fn what_is_older_than_the_horizon_expires_and_nothing_else() {
    let mut index = Index::new(shape());
    for hour in 0..100_i64 {
        index.insert((hour as u64) << 40, hour as u64 + 1, hour * HOUR);
        merge_all(&mut index);
    }
    index.expire(50 * HOUR);
    for hour in 50..100_u64 {
        assert_eq!(index.candidates(hour << 40), [hour + 1], "{hour}");
    }
    assert!(index.candidates(20 << 40).is_empty());
}

#[test]
fn dropping_the_oldest_gives_its_memory_back() {
    let hashes = RandomState::new();
    let mut index = filled(shape(), &hashes, 20_000);
    let before = index.bytes();
    let gone = index.drop_oldest();
    assert!(gone > 0 && index.bytes() < before);
    assert!(index.candidates(hashes.hash_one(1_u64)).is_empty());
    assert!(!index.candidates(hashes.hash_one(20_000_u64)).is_empty());
}

#[test]
fn a_merge_whose_parts_are_gone_changes_nothing() {
    let mut index = filled(shape(), &RandomState::new(), 3_000);
    index.insert(1, 3_001, 2_000_000);
    for n in 0..1_000 {
        index.insert(n << 30, 4_000 + n, 2_000_000);
    }
    let parts = index.due_merge().unwrap();
    index.drop_oldest();
    let before = index.len();
    index.replace(&parts, Segment::merge(&parts).unwrap());
    assert_eq!(index.len(), before);
}

#[test]
fn sealed_events_take_at_most_nine_bytes() {
    let hashes = RandomState::new();
    let mut index = Index::new(Shape::for_memory(256 << 20));
    let count = 131_072 * 16_u64;
    for n in 1..=count {
        index.insert(hashes.hash_one(n), n, 1_000_000);
        if n % 131_072 == 0 {
            merge_all(&mut index);
        }
    }
    let each = index.bytes() as f64 / count as f64;
    assert!(each <= 9.0, "{each}");
}

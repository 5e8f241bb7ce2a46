//! Planted histories, one per verdict: the checker itself must not be the hole.

use serde_json::json;

use super::verdict::Place;
use super::{Entry, Frame, History, Start, Value, Verdict, hash};

const CALLS: &str = "calls";

/// A history in which `ann` follows `calls` and a writer `w` has its values stored one after the other.
struct Plot(History);

fn plot() -> Plot {
    let plot = Plot(History::new());
    plot.open("ann", &[CALLS], Start::Now).following("ann", &[CALLS]);
    plot
}

fn value(counter: u64) -> Value {
    Value::new("w", counter)
}

impl Plot {
    fn note(&self, entry: Entry) -> &Self {
        self.0.record(entry);
        self
    }

    fn open(&self, client: &str, channels: &[&str], start: Start) -> &Self {
        let channels = channels.iter().map(|&name| name.to_owned()).collect();
        self.note(Entry::Opened { client: client.into(), channels, start })
    }

    fn following(&self, client: &str, channels: &[&str]) -> &Self {
        let channels = channels.iter().map(|&name| name.to_owned()).collect();
        self.note(Entry::Following { client: client.into(), channels })
    }

    fn attempt(&self, counter: u64) -> &Self {
        let channels = vec![CALLS.to_owned()];
        self.note(Entry::Attempt { value: value(counter), channels, payload: Some(7) })
    }

    fn stored(&self, counter: u64, sequence: u64) -> &Self {
        let stream = "CALLS".to_owned();
        self.note(Entry::Stored { value: value(counter), stream, sequence, duplicate: false })
    }

    /// Attempted and stored, each at the sequence of its number.
    fn wrote(&self, counters: impl IntoIterator<Item = u64>) -> &Self {
        for counter in counters {
            self.attempt(counter).stored(counter, counter);
        }
        self
    }

    fn got(&self, client: &str, counters: impl IntoIterator<Item = u64>) -> &Self {
        for counter in counters {
            self.frame(client, counter, 7);
        }
        self
    }

    fn frame(&self, client: &str, counter: u64, payload: u64) -> &Self {
        let frame = Frame {
            name: "call_update".to_owned(),
            event_id: None,
            cursor: Some(format!("{client}{counter}")),
            value: Some(value(counter)),
            payload,
        };
        self.note(Entry::Frame { client: client.into(), frame })
    }

    fn resume(&self, client: &str, cursor: &str) -> &Self {
        self.open(client, &[CALLS], Start::Cursor(cursor.to_owned()))
    }

    fn gap(&self, client: &str) -> &Self {
        let (channels, reason) = (vec![CALLS.to_owned()], "expired".to_owned());
        self.note(Entry::Gap { client: client.into(), channels, reason })
    }

    fn acked(&self, client: &str, cursor: &str, confirmed: bool) -> &Self {
        let (client, cursor) = (client.into(), cursor.to_owned());
        self.note(if confirmed {
            Entry::AckConfirmed { client, cursor }
        } else {
            Entry::AckSent { client, cursor }
        })
    }

    fn drained(&self, client: &str) -> Verdict {
        self.note(Entry::Drained { client: client.into() });
        self.0.judge()
    }

    fn clean(&self, client: &str) -> Verdict {
        self.note(Entry::Drained { client: client.into() });
        self.0.assert_clean()
    }
}

#[test]
fn everything_once_in_order_is_clean() {
    let verdict = plot().wrote(1..=5).got("ann", 1..=5).clean("ann");
    assert_eq!((verdict.ok, verdict.frames), (5, 5));
}

#[test]
fn what_never_comes_is_lost_at_its_place() {
    let verdict = plot().wrote(1..=5).got("ann", [2, 4]).drained("ann");
    let places: Vec<_> = verdict.lost.iter().map(|lost| (lost.value.counter, lost.place)).collect();
    assert_eq!(places, [(1, Place::Prefix), (3, Place::Middle), (5, Place::Postfix)]);
}

#[test]
fn what_may_still_come_is_not_lost() {
    let plot = plot();
    plot.wrote(1..=5).got("ann", [1, 2, 3]);
    assert!(plot.0.judge().is_clean());
    assert_eq!(plot.drained("ann").lost_at(Place::Postfix), 2);
}

#[test]
fn what_was_stored_before_a_client_came_is_not_owed_to_it() {
    let plot = Plot(History::new());
    plot.wrote(1..=3).open("ann", &[CALLS], Start::Now).wrote([4]).following("ann", &[CALLS]);
    plot.wrote(5..=6).got("ann", [5, 6]).clean("ann");
}

#[test]
fn one_who_asks_from_the_earliest_is_owed_everything() {
    let plot = Plot(History::new());
    plot.wrote(1..=3).open("ann", &[CALLS], Start::Earliest).got("ann", [2, 3]);
    assert_eq!(plot.drained("ann").lost_at(Place::Prefix), 1);
}

#[test]
fn what_was_never_attempted_is_unexpected() {
    let verdict = plot().wrote([1]).got("ann", [1, 2]).drained("ann");
    assert_eq!(verdict.unexpected[0].value, value(2));
}

#[test]
fn a_changed_payload_is_unexpected() {
    let verdict = plot().wrote([1]).frame("ann", 1, 8).drained("ann");
    assert_eq!(verdict.unexpected[0].detail, "was changed");
}

#[test]
fn what_was_refused_is_unexpected() {
    let plot = plot();
    plot.attempt(1).note(Entry::Refused { value: value(1) }).got("ann", [1]);
    assert_eq!(plot.drained("ann").unexpected[0].detail, "was refused");
}

#[test]
fn an_event_of_a_channel_that_was_not_joined_is_unexpected() {
    let plot = Plot(History::new());
    plot.open("ann", &["team"], Start::Now).following("ann", &["team"]).wrote([1]);
    assert_eq!(plot.got("ann", [1]).drained("ann").unexpected.len(), 1);
}

#[test]
fn a_repeat_is_a_duplicate() {
    let verdict = plot().wrote(1..=3).got("ann", [1, 2, 2, 3]).drained("ann");
    assert_eq!(verdict.duplicates.len(), 1);
    assert!(verdict.disorder.is_empty() && verdict.lost.is_empty());
}

#[test]
fn a_swap_is_disorder_and_a_silent_gap() {
    let verdict = plot().wrote(1..=3).got("ann", [1, 3, 2]).drained("ann");
    assert_eq!(verdict.disorder[0].value, value(2));
    assert_eq!(verdict.silent_gaps[0].value, value(2));
    assert!(verdict.lost.is_empty());
}

#[test]
fn two_clients_agree_even_on_what_was_never_acknowledged() {
    let plot = plot();
    plot.open("bob", &[CALLS], Start::Now).following("bob", &[CALLS]);
    plot.attempt(1).attempt(2).got("ann", [1, 2]).got("bob", [2, 1]);
    assert_eq!(plot.drained("ann").disorder.len(), 1);
}

#[test]
fn a_skip_without_a_gap_frame_is_a_silent_gap() {
    let verdict = plot().wrote(1..=3).got("ann", [1, 3]).drained("ann");
    assert_eq!(verdict.silent_gaps[0].value, value(2));
}

#[test]
fn a_gap_frame_excuses_what_was_before_it_and_nothing_after() {
    let plot = plot();
    plot.wrote(1..=4).got("ann", [1]).gap("ann").wrote(5..=7).got("ann", [7]);
    let verdict = plot.drained("ann");
    assert_eq!(verdict.announced, 3);
    let lost: Vec<_> = verdict.lost.iter().map(|lost| lost.value.counter).collect();
    assert_eq!(lost, [5, 6]);
}

#[test]
fn a_resume_goes_on_right_after_its_cursor() {
    let plot = plot();
    plot.wrote(1..=6).got("ann", 1..=4).resume("ann", "ann2").got("ann", 3..=6).clean("ann");
}

#[test]
fn a_resume_that_skips_one_is_caught() {
    let plot = plot();
    plot.wrote(1..=6).got("ann", 1..=2).resume("ann", "ann2").got("ann", 4..=6);
    let verdict = plot.drained("ann");
    assert_eq!(verdict.lost[0].value, value(3));
    assert_eq!(verdict.silent_gaps[0].value, value(3));
}

#[test]
fn a_resume_that_skips_the_first_of_all_is_caught() {
    let plot = plot();
    plot.wrote(1..=3).got("ann", [1]).resume("ann", "ann1").got("ann", [3]);
    assert_eq!(plot.drained("ann").lost[0].value, value(2));
}

#[test]
fn a_resume_that_resends_one_is_caught() {
    let plot = plot();
    plot.wrote(1..=4).got("ann", 1..=2).resume("ann", "ann2").got("ann", 2..=4);
    assert_eq!(plot.drained("ann").duplicates[0].value, value(2));
}

#[test]
fn another_clients_cursor_stands_for_what_that_client_was_given() {
    let resumed = |counters: &[u64]| {
        let plot = plot();
        plot.wrote(1..=4).got("ann", 1..=4).resume("bob", "ann2");
        plot.got("bob", counters.iter().copied()).drained("bob")
    };
    assert!(resumed(&[3, 4]).is_clean());
    assert_eq!(resumed(&[2, 3, 4]).duplicates.len(), 1);
    assert_eq!(resumed(&[4]).lost.len(), 1);
    assert_eq!(resumed(&[]).lost_at(Place::Postfix), 2);
}

#[test]
fn a_join_with_another_clients_cursor_is_judged_like_a_resume() {
    let joined = |counters: &[u64]| {
        let plot = plot();
        plot.wrote(1..=4).got("ann", 1..=4).open("bob", &["team"], Start::Now);
        let (channel, start) = (CALLS.to_owned(), Start::Cursor("ann2".to_owned()));
        plot.note(Entry::Joining { client: "bob".into(), channel, start });
        plot.got("bob", counters.iter().copied()).drained("bob")
    };
    assert!(joined(&[3, 4]).is_clean());
    assert_eq!(joined(&[2, 3, 4]).duplicates.len(), 1);
    assert_eq!(joined(&[4]).lost.len(), 1);
}

#[test]
fn a_device_goes_on_from_its_acknowledgement() {
    let resumed = |counters: std::ops::RangeInclusive<u64>| {
        let plot = plot();
        plot.wrote(1..=6).got("ann", 1..=5).acked("ann", "ann2", false).acked("ann", "ann2", true);
        plot.acked("ann", "ann4", false).open("ann", &[CALLS], Start::Acknowledged);
        plot.got("ann", counters).drained("ann")
    };
    assert!(resumed(3..=6).is_clean(), "the second acknowledgement may be lost");
    assert!(resumed(5..=6).is_clean(), "or not");
    assert_eq!(resumed(2..=6).duplicates.len(), 1);
    assert_eq!(resumed(6..=6).lost.len(), 1);
}

#[test]
fn a_value_at_two_places_of_the_log_is_stored_twice() {
    let plot = plot();
    plot.wrote([1]).attempt(1).stored(1, 2).got("ann", [1]);
    assert_eq!(plot.drained("ann").stored_twice, [value(1)]);
}

#[test]
fn a_publishers_later_value_stands_behind_its_earlier_one() {
    let plot = plot();
    plot.attempt(1).stored(1, 2).attempt(2).stored(2, 1).got("ann", [2, 1]);
    assert_eq!(plot.drained("ann").publisher_order, [value(2)]);
}

#[test]
fn what_was_not_acknowledged_is_recovered_or_unknown() {
    let plot = plot();
    plot.attempt(1).note(Entry::Unanswered { value: value(1) }).attempt(2).got("ann", [1]);
    let verdict = plot.clean("ann");
    assert_eq!((verdict.recovered, verdict.unknown), (1, 1));
}

#[test]
fn a_value_is_found_wherever_the_form_puts_it() {
    let deep = json!({"activity": {"list": [1, {"text": "see val-w3-41."}]}});
    assert_eq!(Value::find(&deep), Some(Value::new("w3", 41)));
    assert_eq!(Value::find(&json!({"text": "interval-x"})), None);
    assert_eq!(hash(&json!({"a": 1, "b": 2})), hash(&json!({"b": 2, "timestamp": 3, "a": 1})));
    assert_ne!(hash(&json!({"a": 1})), hash(&json!({"a": 2})));
}

//! What is unanswered and who may answer, event by event.

use super::fact::{Attempted, Fact, Stored};
use super::fold::{Conversation, TURNS};
use super::plan::{Step, next};

const LEASE: i64 = 10_000;

fn message(id: &str) -> Fact {
    Fact::Message { id: id.into() }
}

fn attempt(message: &str, number: u32, holder: &str) -> Fact {
    let (message, holder) = (message.into(), holder.into());
    Fact::Attempt { message, number, failures: number - 1, holder, lease_ms: LEASE }
}

fn answered(message: &str) -> Fact {
    Fact::Answered { message: message.into() }
}

fn failed(message: &str) -> Fact {
    Fact::Failed { message: message.into() }
}

/// Events a millisecond apart, from 1 on.
fn given(facts: &[Fact]) -> Conversation {
    let mut conversation = Conversation::default();
    for (at, fact) in facts.iter().enumerate() {
        let sequence = at as u64 + 1;
        let guarded = !matches!(fact, Fact::Message { .. } | Fact::Started | Fact::Received { .. });
        let stored = Stored { sequence, at: at as i64 + 1, guarded, fact: fact.clone() };
        conversation.apply(&stored);
    }
    conversation
}

/// Which message is attempted, for which time, behind which revision.
#[track_caller]
fn check(facts: &[Fact], me: &str, now: i64, expected: Option<(&str, u32, u64)>) {
    let step = next(&given(facts), me, now);
    let attempted = match &step {
        Step::Attempt { message, number, revision } => Some((&*message.id, *number, *revision)),
        Step::Nothing | Step::Wait { .. } | Step::GiveUp { .. } => None,
    };
    assert_eq!(attempted, expected, "{step:?}");
}

#[test]
fn messages_are_answered_in_the_order_they_were_said() {
    let facts = [message("a"), message("b")];
    check(&facts, "me", 5, Some(("a", 1, 0)));
    let facts = [message("a"), message("b"), attempt("a", 1, "me"), answered("a")];
    check(&facts, "me", 5, Some(("b", 1, 4)));
    let facts = [message("a"), attempt("a", 1, "me"), answered("a")];
    check(&facts, "me", 5, None);
}

#[test]
fn a_claim_of_another_is_waited_for_and_taken_over_when_it_ends() {
    let facts = [message("a"), attempt("a", 1, "other")];
    check(&facts, "me", 2 + LEASE - 1, None);
    check(&facts, "me", 2 + LEASE, Some(("a", 2, 2)));
    check(&facts, "other", 5, Some(("a", 2, 2)));
}

#[test]
fn a_claim_that_is_extended_lasts_longer_and_one_that_is_given_back_ends() {
    let extended = |lease_ms| Fact::Extended {
        message: "a".into(),
        number: 1,
        holder: "other".into(),
        lease_ms,
    };
    let facts = [message("a"), attempt("a", 1, "other"), extended(3 * LEASE)];
    check(&facts, "me", 2 * LEASE, None);
    let facts = [message("a"), attempt("a", 1, "other"), extended(0)];
    check(&facts, "me", 5, Some(("a", 2, 3)));
}

#[test]
fn a_stale_attempt_neither_holds_nor_extends() {
    let facts = [message("a"), attempt("a", 1, "old"), attempt("a", 2, "new")];
    let conversation = given(&facts);
    assert!(conversation.is_held("a", 2, "new"));
    assert!(!conversation.is_held("a", 1, "old"));
    let late = Fact::Extended { message: "a".into(), number: 1, holder: "old".into(), lease_ms: 1 };
    let facts = [facts.as_slice(), &[late]].concat();
    assert_eq!(given(&facts).claim.unwrap().holder, "new");
}

#[test]
fn a_failed_message_that_is_said_again_is_attempted_anew() {
    let failed = [message("a"), attempt("a", 1, "me"), failed("a")];
    check(&failed, "me", 5, None);
    // It goes on counting, so that clients take the pieces of the new attempt for newer ones.
    check(&[failed.as_slice(), &[message("a")]].concat(), "me", 5, Some(("a", 2, 3)));
}

#[test]
fn a_message_that_is_said_again_has_all_its_attempts_again() {
    let mut facts = Vec::new();
    for round in 0..20 {
        facts.push(message("a"));
        facts.extend((1..=3).map(|number| attempt("a", 3 * round + number, "me")));
        facts.push(failed("a"));
    }
    facts.push(message("a"));
    let conversation = given(&facts);
    assert!(matches!(next(&conversation, "me", 500), Step::Attempt { number: 61, .. }));
    assert_eq!(conversation.open[0].failures, 0);
}

#[test]
fn a_failure_is_remembered_by_whoever_attempts_next() {
    let used = |number, outcome: &str| {
        let (message, outcome) = ("a".into(), outcome.into());
        Fact::Used { tokens: 1, attempt: Some(Attempted { message, number, outcome }) }
    };
    let facts = [message("a"), attempt("a", 1, "other"), used(1, "timeout")];
    let open = given(&facts).open[0].clone();
    assert_eq!((open.failures, open.after().as_deref()), (1, Some("timeout")));
    let stale = [facts.as_slice(), &[attempt("a", 2, "me"), used(1, "timeout")]].concat();
    assert_eq!(given(&stale).open[0].failures, 1, "of an attempt that was taken over");
    assert_eq!(given(&stale).open[0].after().as_deref(), Some("unknown"), "of the second");
    let answered = [message("a"), attempt("a", 1, "other"), used(1, "answered")];
    assert_eq!(given(&answered).open[0].failures, 0);
}

#[test]
fn what_became_of_an_attempt_is_unknown_where_it_left_no_word() {
    let after = |facts: &[Fact]| given(facts).open[0].after();
    assert_eq!(after(&[message("a")]), None);
    let killed = [message("a"), attempt("a", 1, "other")];
    assert_eq!(after(&killed).as_deref(), Some("unknown"));
    let again = [message("a"), attempt("a", 1, "me"), failed("a"), message("a")];
    assert_eq!(after(&again), None, "the first since it was said again");
}

#[test]
fn a_message_that_is_said_again_is_one_turn_where_it_was_said_last() {
    let facts = [message("a"), attempt("a", 1, "me"), failed("a"), message("b"), message("a")];
    assert_eq!(given(&facts).turns, [4, 5]);
    let answered = [message("a"), answered("a"), message("a")];
    assert_eq!(given(&answered).turns, [1, 2], "it says nothing");
}

#[test]
fn an_answered_message_that_is_said_again_is_not_answered_again() {
    let facts = [message("a"), attempt("a", 1, "me"), answered("a"), message("a")];
    check(&facts, "me", 5, None);
    check(&[message("a"), message("a"), answered("a")], "me", 5, None);
}

#[test]
fn a_message_that_kills_whoever_answers_it_is_given_up() {
    let mut facts = vec![message("a")];
    facts.extend((1..=24).map(|number| attempt("a", number, "me")));
    assert!(matches!(next(&given(&facts), "me", 50), Step::GiveUp { .. }));
}

#[test]
fn an_event_that_comes_again_changes_nothing() {
    let mut conversation = given(&[message("a"), attempt("a", 1, "me")]);
    let before = conversation.clone();
    let again = Stored { sequence: 1, at: 1, guarded: false, fact: message("z") };
    conversation.apply(&again);
    assert_eq!(conversation, before);
}

#[test]
fn what_was_said_before_is_remembered_up_to_a_bound() {
    let facts: Vec<Fact> =
        (0..100).flat_map(|at| [message(&at.to_string()), answered(&at.to_string())]).collect();
    let conversation = given(&facts);
    assert_eq!(conversation.turns.len(), TURNS);
    assert_eq!(conversation.turns.back(), Some(&200));
}

#[test]
fn speech_becomes_text_in_the_order_it_was_said() {
    let received = |chunk: &str| Fact::Received { chunk: chunk.into(), lease_ms: LEASE };
    let heard = |chunk: &str| Fact::Heard { chunk: chunk.into() };
    let both = [received("v-1"), received("v-2")];
    assert!(given(&both).is_next_chunk(1, 5));
    assert!(!given(&both).is_next_chunk(2, 5));
    assert!(given(&both).is_next_chunk(2, 2 * LEASE), "one that was lost is not waited for");
    assert!(given(&[both.as_slice(), &[heard("v-1")]].concat()).is_next_chunk(2, 5));
}

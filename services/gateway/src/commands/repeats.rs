//! Repeats of commands whose decision takes long: they wait with the attempt that is stored already, instead of standing
//! in the queue behind it. Who insists while everything is slow must not make it slower.
//!
//! Nothing hangs on it: what is not found here is stored again, and decided once all the same.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{Command, Tenant};
use tokio::time::Instant;

use super::replies::Waiting;

/// How long a decision that does not come keeps its repeats from the log: its reply may be lost.
const AT_MOST: Duration = Duration::from_secs(10);
/// The most commands that are remembered; the repeats of others are stored again.
const MOST: usize = 4_096;

/// What makes a command a repeat of another attempt.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Wish {
    tenant: Tenant,
    key: String,
    /// Of what it says, so that the words themselves are not kept.
    said: u64,
}

#[derive(Default)]
pub(crate) struct Repeats {
    hashes: RandomState,
    begun: Mutex<HashMap<Wish, (Arc<Waiting>, Instant)>>,
}

impl Repeats {
    /// Before anything in it is sealed: two sealed copies of one text are different.
    pub(super) fn wish(&self, command: &Command) -> Wish {
        let said = self.hashes.hash_one(command.payload());
        Wish { tenant: command.tenant.clone(), key: command.key(), said }
    }

    /// Where the decision of an earlier attempt is awaited, or has come.
    pub(super) fn find(&self, wish: &Wish) -> Option<Arc<Waiting>> {
        let begun = self.lock();
        let (waiting, until) = begun.get(wish)?;
        (*until > Instant::now()).then(|| waiting.clone())
    }

    /// An attempt is stored and has no decision yet.
    pub(super) fn remember(&self, wish: Wish, waiting: Arc<Waiting>) {
        let now = Instant::now();
        let mut begun = self.lock();
        if begun.len() >= MOST {
            begun.retain(|_, (_, until)| *until > now);
        }
        if begun.len() < MOST {
            begun.insert(wish, (waiting, now + AT_MOST));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Wish, (Arc<Waiting>, Instant)>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use domain::Role;
    use domain::command::Actor;
    use serde_json::json;
    use time::OffsetDateTime;

    use super::super::Replies;
    use super::*;

    fn command(id: &str, said: &str) -> Command {
        Command {
            id: id.into(),
            kind: "conversation.message".into(),
            tenant: Tenant::parse("acme").unwrap(),
            entity: "c-1".into(),
            actor: Actor { user: "7".into(), role: Role::User },
            connection: None,
            reply: None,
            time: OffsetDateTime::UNIX_EPOCH,
            data: json!({ "message": said }).as_object().unwrap().clone(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_repeat_is_what_says_the_same_under_the_same_id_for_a_while() {
        let (repeats, replies) = (Repeats::default(), Replies::new("n-1"));
        let waiting = Arc::new(replies.wait().unwrap());
        repeats.remember(repeats.wish(&command("a", "one")), waiting.clone());
        let find = |id, said| repeats.find(&repeats.wish(&command(id, said)));
        assert!(find("a", "two").is_none() && find("b", "one").is_none());
        assert_eq!(find("a", "one").unwrap().subject(), waiting.subject());
        tokio::time::advance(AT_MOST).await;
        assert!(find("a", "one").is_none(), "its reply may be lost");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded_and_what_is_over_makes_room() {
        let (repeats, replies) = (Repeats::default(), Replies::new("n-1"));
        let remember = |number: usize| {
            let waiting = Arc::new(replies.wait().unwrap());
            repeats.remember(repeats.wish(&command(&number.to_string(), "one")), waiting);
        };
        (0..=MOST).for_each(remember);
        assert_eq!(repeats.lock().len(), MOST);
        tokio::time::advance(AT_MOST).await;
        remember(MOST);
        assert_eq!(repeats.lock().len(), 1);
    }
}

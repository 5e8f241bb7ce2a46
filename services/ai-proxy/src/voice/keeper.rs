//! Removes kept sound when its time is over, whichever instance has kept it.
//! The object store forgets everything after thirty days by itself, so what is missed here is not kept for ever.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use domain::StreamId;
use domain::envelope::{header, parse_rfc3339};
use domain::subject::category_filter;
use runtime::clock;
use runtime::follow::{FollowEvent, FollowOptions, Follower, Start};
use runtime::nats::Nats;
use runtime::object_store::ObjectError;
use runtime::tasks::BoxError;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use tracing::debug;

const BUCKET: &str = "media";
const EVERY: Duration = Duration::from_secs(60);
const DELETE_WITHIN: Duration = Duration::from_secs(10);
/// Pieces remembered; those beyond it are left to the store's own thirty days.
const MOST: usize = 100_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    expires_at: String,
    media: Media,
}

#[derive(Deserialize)]
struct Media {
    bucket: String,
    key: String,
}

/// Looks every minute, until `stop`.
pub(crate) async fn run(nats: Nats, stop: CancellationToken) -> Result<(), BoxError> {
    let options =
        FollowOptions { filter: Some(category_filter("voice")), ..FollowOptions::default() };
    let start = Start::AfterSequence(0);
    let mut follower = Follower::new(&nats, StreamId::Conversations.name(), start, options);
    let mut due = BinaryHeap::new();
    let mut looks = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            event = follower.next() => if let FollowEvent::Messages(messages) = event {
                for message in &messages {
                    if due.len() < MOST {
                        due.extend(kept(message).map(Reverse));
                    }
                }
            },
            _ = looks.tick() => tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = remove(&nats, &mut due) => {}
            },
        }
    }
}

/// When it expires, and what.
fn kept(message: &runtime::LogMessage) -> Option<(i64, String)> {
    if message.headers.get(header::TYPE) != Some("voice.kept") {
        return None;
    }
    let kept: Kept = serde_json::from_slice(&message.payload).ok()?;
    let expires = parse_rfc3339(&kept.expires_at)?.unix_timestamp();
    (kept.media.bucket == BUCKET).then_some((expires, kept.media.key))
}

type Due = BinaryHeap<Reverse<(i64, String)>>;

async fn remove(nats: &Nats, due: &mut Due) {
    let now = clock::unix_seconds();
    if due.peek().is_none_or(|Reverse((at, _))| *at > now) {
        return;
    }
    let objects = match nats.objects(BUCKET, DELETE_WITHIN).await {
        Ok(objects) => objects,
        Err(error) => return debug!(%error, "kept sound is removed later"),
    };
    let delete = |key: String| {
        let objects = objects.clone();
        async move { objects.delete(&key).await }
    };
    remove_due(due, now, delete).await;
}

/// What cannot be deleted stays due, behind the others. It ends the round: a store that is away answers nothing else
/// either, and only after a long wait.
async fn remove_due<F>(due: &mut Due, now: i64, delete: impl Fn(String) -> F)
where
    F: Future<Output = Result<(), ObjectError>>,
{
    while let Some(Reverse((at, key))) = due.pop() {
        if at > now {
            due.push(Reverse((at, key)));
            break;
        }
        match delete(key.clone()).await {
            // Another instance may have been faster.
            Ok(()) | Err(ObjectError::NotFound) => {}
            Err(error) => {
                due.push(Reverse((now + 1, key)));
                return debug!(%error, "kept sound is removed later");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_could_not_be_deleted_ends_the_round_and_is_deleted_later_behind_the_others() {
        let piece = |at: i64, key: &str| Reverse((at, key.to_owned()));
        let mut due = Due::from([piece(1, "a"), piece(2, "b"), piece(9, "c")]);
        let asked = std::cell::RefCell::new(Vec::new());
        let fails = async |key: String| {
            asked.borrow_mut().push(key);
            Err(ObjectError::Timeout)
        };
        remove_due(&mut due, 5, fails).await;
        assert_eq!(*asked.borrow(), ["a"]);
        assert_eq!(due.clone().into_sorted_vec(), [piece(9, "c"), piece(6, "a"), piece(2, "b")]);
        remove_due(&mut due, 6, async |_: String| Err(ObjectError::NotFound)).await;
        assert_eq!(due.into_vec(), [piece(9, "c")]);
    }
}

//! Following one's own appends without reading them back: what this process has stored it knows already, and only
//! what others have stored is fetched, by its place.
//!
//! It begins once a consumer has delivered everything there was, and ends, back to a consumer, as soon as anything
//! is not as expected: then the stream may be another one, or others store so much that a consumer costs less.

use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use super::{Follower, Last, Mark};
use crate::log_message::LogMessage;

/// How often the stream is asked for what others have stored.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Places of others that are fetched between two looks; more of them are a consumer's work.
const MOST: usize = 256;
/// How long a consumer does it then, since making one for every busy moment would cost more than it spares.
const CONSUMER_FOR: Duration = Duration::from_secs(30);

/// Where such a follower is.
pub(super) struct Known {
    looked: Instant,
    /// Of the connection; with another one the stream may be another, too.
    generation: u64,
}

/// Why the consumer takes over again.
#[derive(Debug, thiserror::Error)]
enum Over {
    #[error("the stream is not the one it was, or cannot be read")]
    Stream,
    #[error("others store much")]
    Others,
}

impl Follower {
    /// Whether everything has been seen, and what comes next need not be read from a consumer.
    pub(super) fn may_know(&self) -> bool {
        self.options.own
            && self.pending == 0
            && self.options.filter.is_none()
            && self.last.is_some()
            && self.consumer_until.is_none_or(|until| Instant::now() >= until)
    }

    /// Leaves the consumer, which the server removes when nobody asks it any more.
    pub(super) fn know(&mut self) {
        self.flow = None;
        let generation = self.reader.link().generation;
        self.known = Some(Known { looked: Instant::now(), generation });
    }

    /// What has come since; `None` when nothing has, or when it is the consumer's turn. Safe to drop while waiting.
    pub(super) async fn receive_known(&mut self) -> Option<Vec<LogMessage>> {
        tokio::time::sleep(self.options.pace.unwrap_or_default().max(LOOK_EVERY / 50)).await;
        let messages = match self.look().await {
            Ok(messages) => messages,
            Err(over) => {
                debug!(stream = %self.stream, %over, "a consumer follows the stream again");
                if matches!(over, Over::Others) {
                    self.consumer_until = Some(Instant::now() + CONSUMER_FOR);
                }
                self.known = None;
                return None;
            }
        };
        let last = messages.last()?;
        let mark = Some(Mark::Sent(last.headers.clone()));
        self.last = Some(Last { sequence: last.sequence, mark });
        Some(messages)
    }

    async fn look(&mut self) -> Result<Vec<LogMessage>, Over> {
        let (Some(last), Some(known)) = (&self.last, &self.known) else {
            return Err(Over::Stream);
        };
        if self.reader.link().generation != known.generation {
            return Err(Over::Stream);
        }
        let log = self.nats.event_log();
        let own = log.own_successors(&self.stream, last.sequence);
        if !own.is_empty() || known.looked.elapsed() < LOOK_EVERY {
            return Ok(own);
        }
        let state = self.reader.stream_info(&self.stream).await.map_err(|_| Over::Stream)?;
        if self.epoch.is_some_and(|epoch| epoch != state.epoch)
            || state.last_sequence < last.sequence
        {
            return Err(Over::Stream);
        }
        let own = log.own_between(&self.stream, last.sequence, state.last_sequence);
        let is_own =
            |sequence: &u64| own.binary_search_by_key(sequence, |own| own.sequence).is_ok();
        let others: Vec<u64> = (last.sequence + 1..=state.last_sequence)
            .filter(|sequence| !is_own(sequence))
            .take(MOST + 1)
            .collect();
        if others.len() > MOST {
            return Err(Over::Others);
        }
        let found = self.reader.get_many(&self.stream, &others).await.map_err(|_| Over::Stream)?;
        let mut messages: Vec<LogMessage> = own;
        messages.extend(found.into_iter().flatten());
        messages.sort_unstable_by_key(|message| message.sequence);
        if let Some(known) = self.known.as_mut() {
            known.looked = Instant::now();
        }
        Ok(messages)
    }
}

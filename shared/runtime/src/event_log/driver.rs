//! The tasks behind a log: one sends what is appended, the other hands acknowledgements to their appends and sends
//! again what is due.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Subscriber};
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{debug, warn};

use super::AppendError;
use super::answer::Answer;
use super::table::Table;
use crate::nats::Link;

/// How exact deadlines and pauses are.
const TICK: Duration = Duration::from_millis(25);
/// The client's queue is full and the connection gone: the next connect starts over.
const SEND_WITHIN: Duration = Duration::from_millis(500);

/// Sends what is posted, many at a time: the server's work for a message is mostly the work for its packet.
pub(super) async fn send(table: Arc<Table>, client: Client) {
    loop {
        table.posted().await;
        // Everybody who can run now posts first; with nobody else there this costs a look at the sockets.
        tokio::task::yield_now().await;
        for token in table.take_posted() {
            match timeout(SEND_WITHIN, table.send_token(&client, token)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => table.refuse(token, error),
                // The rest stays in the table, from where it is sent when its time comes.
                Err(_) => break,
            }
        }
    }
}

pub(super) async fn run(
    table: Arc<Table>,
    client: Client,
    mut inbox: Subscriber,
    mut link: watch::Receiver<Link>,
) {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut generation = link.borrow().generation;
    loop {
        tokio::select! {
            message = inbox.next() => match message {
                Some(message) => table.answer(&message.subject, Answer::read(&message)),
                None => return,
            },
            changed = link.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = *link.borrow_and_update();
                if now.up && now.generation != generation {
                    generation = now.generation;
                    // Acknowledgements of the old connection will not come any more.
                    send_all(&table, &client, table.open_tokens()).await;
                }
            },
            _ = tick.tick() => {
                let due = table.sweep(Instant::now());
                if link.borrow().up && !due.is_empty() {
                    send_all(&table, &client, due).await;
                }
            },
        }
    }
}

async fn send_all(table: &Table, client: &Client, tokens: Vec<u64>) {
    debug!(count = tokens.len(), "sending again what is not acknowledged");
    for token in tokens {
        match timeout(SEND_WITHIN, table.send_token(client, token)).await {
            Ok(Ok(())) => {}
            Ok(Err(AppendError::TooLarge)) => {}
            Ok(Err(error)) => warn!(%error, "an append could not be sent again"),
            Err(_) => return,
        }
    }
}

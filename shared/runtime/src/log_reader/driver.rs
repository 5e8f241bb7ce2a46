//! The task behind a reader: keeps a connection, sends what is asked and hands out the answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use crate::nats::replies::Replies;
use crate::nats::wire::{Wire, WireError};
use crate::nats::{Link, Servers};

/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(100);
/// Two pings without an answer end a connection that died silently.
const PING_EVERY: Duration = Duration::from_secs(5);

/// One request, on its way.
pub(super) struct Ask {
    pub(super) subject: Arc<str>,
    pub(super) reply: String,
    pub(super) payload: Bytes,
}

/// Until nobody can ask any more.
pub(super) async fn run(
    servers: Servers,
    replies: Arc<Replies>,
    mut asks: mpsc::Receiver<Ask>,
    link: watch::Sender<Link>,
) {
    let connection = format!("{}-gets", servers.service());
    while !asks.is_closed() {
        match Wire::open(&servers, "gets").await {
            Ok(wire) => {
                link.send_modify(Link::rise);
                info!(connection, "connected to NATS");
                let Err(reason) = serve(wire, &replies, &mut asks).await else { return };
                link.send_modify(|link| link.up = false);
                replies.give_up();
                warn!(connection, %reason, "disconnected from NATS");
            }
            Err(WireError::Refused) => {
                // Every attempt meets the same; it is told once.
                let is_news =
                    link.send_if_modified(|link| !std::mem::replace(&mut link.refused, true));
                if is_news {
                    warn!(connection, "NATS refuses the user or the password");
                }
                sleep(PAUSE).await;
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// Returns when nobody can ask any more, or with what ended the connection.
async fn serve(
    mut wire: Wire,
    replies: &Replies,
    asks: &mut mpsc::Receiver<Ask>,
) -> Result<(), WireError> {
    wire.subscribe(&replies.subject());
    let (mut ping_at, mut unanswered) = (Instant::now() + PING_EVERY, 0);
    loop {
        tokio::select! {
            biased;
            ask = asks.recv() => {
                let Some(ask) = ask else { return Ok(()) };
                send(&mut wire, &ask);
                // Whatever else is there goes out with it.
                while let Ok(ask) = asks.try_recv() {
                    send(&mut wire, &ask);
                }
            }
            heard = wire.next_or_pong() => {
                unanswered = 0;
                if let Some(message) = heard? {
                    replies.answer(message);
                }
            }
            () = sleep_until(ping_at) => {
                if unanswered == 2 {
                    return Err(WireError::Unreachable);
                }
                unanswered += 1;
                ping_at = Instant::now() + PING_EVERY;
                wire.ping();
            }
        }
    }
}

fn send(wire: &mut Wire, ask: &Ask) {
    wire.publish(&ask.subject, &ask.reply, &ask.payload);
}

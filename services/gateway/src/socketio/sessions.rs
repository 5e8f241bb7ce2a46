//! The sessions that began by polling, by their id: their requests come on any connection.
//! Ids are credentials and are told to their client alone.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use runtime::ids;
use tokio::sync::{mpsc, oneshot};

use super::Closing;
use crate::socket::io::Socket;
use crate::wires::engineio::Refusal;

/// Requests of one session that wait; a client has two at a time.
const WAITING: usize = 4;

/// A request for a session, answered through its sender.
pub(super) enum Command {
    Poll(oneshot::Sender<Result<Bytes, Refusal>>),
    Post(String, oneshot::Sender<Result<(), Refusal>>),
    /// A WebSocket that wants to take over.
    Upgrade(Box<Socket>),
    End(Closing),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Sessions(Arc<Mutex<Tables>>);

#[derive(Debug, Default)]
struct Tables {
    by_id: HashMap<String, mpsc::Sender<Command>>,
    waiting: HashMap<IpAddr, usize>,
}

/// A session's place, given up when it is dropped.
pub(super) struct Place {
    sessions: Sessions,
    pub(super) sid: String,
    pub(super) commands: mpsc::Receiver<Command>,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more session that waits for its client's credential; `None` when its address has too many.
    pub(super) fn wait(&self, address: IpAddr, most: usize) -> Option<Waiting> {
        let mut tables = self.lock();
        let count = tables.waiting.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Waiting { sessions: self.clone(), address })
    }

    pub(super) fn open(&self) -> Place {
        let (sender, commands) = mpsc::channel(WAITING);
        let sid = ids::unguessable();
        self.lock().by_id.insert(sid.clone(), sender);
        Place { sessions: self.clone(), sid, commands }
    }

    pub(super) fn knows(&self, sid: &str) -> bool {
        self.lock().by_id.contains_key(sid)
    }

    /// Hands a request to its session.
    pub(super) async fn tell(&self, sid: &str, command: Command) -> Result<(), Refusal> {
        let sender = self.lock().by_id.get(sid).cloned();
        let sender = sender.ok_or(Refusal::UnknownSession)?;
        sender.send(command).await.map_err(|_| Refusal::UnknownSession)
    }

    /// Asks a session; one that ends meanwhile is unknown.
    pub(super) async fn ask<T>(
        &self,
        sid: &str,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Refusal> {
        let (sender, answer) = oneshot::channel();
        self.tell(sid, command(sender)).await?;
        answer.await.map_err(|_| Refusal::UnknownSession)
    }
}

/// A session that polls before its client has said who it is.
#[derive(Debug)]
pub(crate) struct Waiting {
    sessions: Sessions,
    address: IpAddr,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut tables = self.sessions.lock();
        if let Some(count) = tables.waiting.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                tables.waiting.remove(&self.address);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.sessions.lock().by_id.remove(&self.sid);
    }
}

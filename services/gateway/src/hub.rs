//! Where the feed meets the connections: the tail behind a lock, and who is to be woken for which channel.
//! It knows no socket and no wire; a connection is a signal here.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use domain::StreamId;
use domain::cursor::CursorKeys;
use domain::position::{Position, StreamPosition};
use tokio::sync::Notify;

use crate::entry::Entry;
use crate::session::Session;
use crate::tail::{Tail, TopicId};

/// Wakes one connection; many wake-ups before it runs are one.
#[derive(Default)]
pub(crate) struct Signal {
    raised: AtomicBool,
    notify: Notify,
}

impl Signal {
    /// Whether it was not raised already.
    pub(crate) fn raise(&self) -> bool {
        let is_news = !self.raised.swap(true, Ordering::AcqRel);
        if is_news {
            self.notify.notify_one();
        }
        is_news
    }

    /// Waits for a wake-up; safe to drop while waiting.
    pub(crate) async fn wait(&self) {
        while !self.raised.swap(false, Ordering::AcqRel) {
            self.notify.notified().await;
        }
    }
}

pub(crate) type ListenerId = u64;

pub(crate) struct Hub {
    state: RwLock<State>,
    next: AtomicU64,
    pub keys: CursorKeys,
}

struct State {
    tail: Tail,
    /// By topic: whom to wake.
    listeners: Vec<HashMap<ListenerId, Arc<Signal>>>,
    everyone: HashMap<ListenerId, Arc<Signal>>,
}

impl Hub {
    pub(crate) fn new(base: Position, tail_bytes: usize, keys: CursorKeys) -> Self {
        let state = State {
            tail: Tail::new(base, tail_bytes),
            listeners: Vec::new(),
            everyone: HashMap::new(),
        };
        Self { state: RwLock::new(state), next: AtomicU64::new(1), keys }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the tail for a moment; other readers look at the same time.
    pub(crate) fn with_tail<T>(&self, look: impl FnOnce(&Tail) -> T) -> T {
        look(&self.read().tail)
    }

    /// Appends to the tail and wakes whom it concerns.
    pub(crate) fn append(&self, entries: Vec<Arc<Entry>>) {
        let touched = self.push(entries);
        self.wake(touched.iter());
    }

    /// Appends to the tail; the topics whose listeners are to be woken for it.
    pub(crate) fn push(&self, entries: Vec<Arc<Entry>>) -> BTreeSet<TopicId> {
        let mut touched = BTreeSet::new();
        let mut state = self.write();
        for entry in entries {
            for channel in &entry.envelope.channels {
                touched.extend(state.tail.topic_of(&entry.envelope.tenant, channel));
            }
            state.tail.push(entry);
        }
        touched
    }

    /// Wakes the listeners of these topics.
    pub(crate) fn wake<'a>(&self, topics: impl Iterator<Item = &'a TopicId>) {
        let state = self.read();
        let listeners = topics.filter_map(|&topic| state.listeners.get(topic as usize));
        for signal in listeners.flat_map(HashMap::values) {
            signal.raise();
        }
    }

    /// What wakes the listeners of these topics.
    pub(crate) fn listeners(&self, topics: &BTreeSet<TopicId>) -> Vec<Arc<Signal>> {
        let state = self.read();
        let listeners = topics.iter().filter_map(|&topic| state.listeners.get(topic as usize));
        listeners.flat_map(HashMap::values).cloned().collect()
    }

    /// Those of these topics that have more listeners than this.
    pub(crate) fn wider_than(&self, many: usize, topics: &BTreeSet<TopicId>) -> BTreeSet<TopicId> {
        let state = self.read();
        let listeners =
            |topic: TopicId| state.listeners.get(topic as usize).map_or(0, HashMap::len);
        topics.iter().copied().filter(|&topic| listeners(topic) > many).collect()
    }

    /// A stream was put back: everyone begins anew behind a gap.
    pub(crate) fn restart(&self, stream: StreamId, at: StreamPosition) {
        self.write().tail.restart(stream, at);
        self.wake_everyone();
    }

    pub(crate) fn wake_everyone(&self) {
        for signal in self.read().everyone.values() {
            signal.raise();
        }
    }

    pub(crate) fn register(&self, signal: &Arc<Signal>) -> ListenerId {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.write().everyone.insert(id, signal.clone());
        id
    }

    /// Changes a session's memberships and with them what it is woken for.
    pub(crate) fn change<T>(
        &self,
        id: ListenerId,
        session: &mut Session,
        change: impl FnOnce(&mut Session, &mut Tail) -> T,
    ) -> T {
        let mut state = self.write();
        let State { tail, listeners, everyone } = &mut *state;
        let Some(signal) = everyone.get(&id).cloned() else { return change(session, tail) };
        let before: BTreeSet<TopicId> = session.topics().collect();
        let result = change(session, tail);
        let after: BTreeSet<TopicId> = session.topics().collect();
        for &topic in after.difference(&before) {
            let place = topic as usize;
            if listeners.len() <= place {
                listeners.resize_with(place + 1, HashMap::new);
            }
            listeners[place].insert(id, signal.clone());
        }
        for &topic in before.difference(&after) {
            forget(listeners, topic, id);
        }
        result
    }

    /// Ends a session: it is neither woken nor counted any more.
    pub(crate) fn leave(&self, id: ListenerId, session: &mut Session) {
        self.change(id, session, Session::close);
        self.write().everyone.remove(&id);
    }
}

fn forget(listeners: &mut [HashMap<ListenerId, Arc<Signal>>], topic: TopicId, id: ListenerId) {
    let Some(of_topic) = listeners.get_mut(topic as usize) else { return };
    of_topic.remove(&id);
    if of_topic.is_empty() {
        // The number may be given to another channel; an empty map should not keep this one's memory.
        *of_topic = HashMap::new();
    }
}

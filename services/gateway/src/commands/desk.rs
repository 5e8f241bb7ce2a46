//! What a connection has asked for and waits to hear: the work runs beside the connection, which goes on delivering,
//! and what has come of it waits here until the connection has room for it.
//!
//! What is about the same thing runs one after the other, each when the answer to the one before has been taken.
//! It knows no wire and no command.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use domain::Channel;
use futures_util::future::BoxFuture;
use runtime::tasks::Connections;
use serde_json::Value;

use super::Answer;
use crate::edge::Refused;
use crate::hub::Signal;

/// What one connection may wait for at once.
pub(crate) const UNANSWERED: usize = 64;
/// Of these, large ones about one thing.
const LARGE: usize = 8;

pub(crate) const TOO_MANY_COMMANDS: Refused = Refused::new(
    "too_many_commands",
    "Too many of your messages wait for their answer; send the next when some have been answered.",
);

const BROKEN_OFF: Refused = Refused::new(
    "unavailable",
    "What you asked for ended without an answer; it may have been done. Try again in a moment.",
);

/// Whom an answer is for.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum To {
    /// Only a failure is told, as an event.
    Nobody,
    /// The answer comes as an event of this name.
    Event(&'static str),
    /// The same where there is something to tell; a failure and an empty list are told to nobody.
    Greeting(&'static str),
    /// A Socket.IO callback.
    Callback(u64),
    /// The id of a WebSocket message.
    Reference(Value),
}

/// What a good answer means to the session.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Then {
    Nothing,
    /// The channel was joined for what has been asked; it is left if nothing came of it.
    Stay(Channel),
    /// The channel has nothing more to say.
    Leave(Channel),
    /// The answer is a snapshot of the channel, which goes on behind it.
    Follow(Channel),
}

/// One thing asked for.
pub(crate) struct Asked {
    pub(crate) to: To,
    pub(crate) then: Then,
    /// What an application is told that listens for failures only.
    pub(crate) failure: Option<Box<str>>,
}

pub(crate) struct Answered {
    pub(crate) asked: Asked,
    pub(crate) answer: Answer,
}

pub(crate) type Work = BoxFuture<'static, Answer>;

/// Work on something: a name that no other kind of thing has.
pub(crate) struct Job {
    pub(crate) about: String,
    pub(crate) is_large: bool,
    pub(crate) asked: Asked,
    pub(crate) work: Work,
}

/// What the connection finds on its desk.
pub(crate) enum Done {
    Answered(Answered),
    /// It is time to leave a channel.
    Leave(Channel),
}

enum Note {
    Answered { about: String, answered: Answered },
    Leave(Channel),
}

struct Tray {
    signal: Arc<Signal>,
    is_filled: AtomicBool,
    notes: Mutex<Vec<Note>>,
}

impl Tray {
    fn put(&self, note: Note) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(note);
        self.is_filled.store(true, Ordering::Release);
        self.signal.raise();
    }

    fn take(&self) -> Vec<Note> {
        self.is_filled.store(false, Ordering::Release);
        std::mem::take(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Work that has begun. However it ends, something comes of it: what waits behind it must not wait for ever.
struct Begun {
    tray: Arc<Tray>,
    of: Option<(String, Asked)>,
}

impl Begun {
    fn end(&mut self, answer: Answer) {
        if let Some((about, asked)) = self.of.take() {
            self.tray.put(Note::Answered { about, answered: Answered { asked, answer } });
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.end(Answer::refused(BROKEN_OFF.code, BROKEN_OFF.message));
    }
}

pub(crate) struct Desk {
    tray: Arc<Tray>,
    workers: Connections,
    unanswered: usize,
    /// About what something is being done, and what is to be done about it next.
    /// Behind a mutex only so that a desk may be shared by reference; it is never locked.
    lanes: Mutex<HashMap<String, VecDeque<Job>>>,
    /// Channels that will be left in a moment.
    leaving: Vec<Channel>,
}

impl Desk {
    /// `signal` wakes the connection.
    pub(crate) fn new(signal: Arc<Signal>, workers: Connections) -> Self {
        let notes = Mutex::default();
        let tray = Tray { signal, is_filled: AtomicBool::new(false), notes };
        Self {
            tray: Arc::new(tray),
            workers,
            unanswered: 0,
            lanes: Mutex::default(),
            leaving: Vec::new(),
        }
    }

    /// Whether nothing is asked for and nothing is to be done.
    pub(crate) fn is_idle(&self) -> bool {
        self.unanswered == 0 && self.leaving.is_empty()
    }

    pub(crate) fn has_news(&self) -> bool {
        self.tray.is_filled.load(Ordering::Acquire)
    }

    pub(crate) fn is_leaving(&self, channel: &Channel) -> bool {
        self.leaving.contains(channel)
    }

    /// Whether one more thing may be asked for.
    pub(crate) fn has_room(&self) -> bool {
        self.unanswered < UNANSWERED
    }

    /// Begins the work, now or behind what is about the same thing; one that is too much is not begun.
    pub(crate) fn ask(&mut self, job: Job) -> Result<(), Refused> {
        let waiting = self.lanes().get(&job.about).map_or(0, |lane| lane.len() + 1);
        if !self.has_room() || (job.is_large && waiting >= LARGE) {
            return Err(TOO_MANY_COMMANDS);
        }
        self.unanswered += 1;
        match self.lanes().get_mut(&job.about) {
            Some(lane) => lane.push_back(job),
            None => {
                self.lanes().insert(job.about.clone(), VecDeque::new());
                self.start(job);
            }
        }
        Ok(())
    }

    fn lanes(&mut self) -> &mut HashMap<String, VecDeque<Job>> {
        self.lanes.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, job: Job) {
        let Job { about, asked, work, .. } = job;
        let mut begun = Begun { tray: self.tray.clone(), of: Some((about, asked)) };
        self.workers.spawn(async move {
            let answer = work.await;
            begun.end(answer);
        });
    }

    /// Has the channel left when `when` has come.
    pub(crate) fn leave_at(
        &mut self,
        channel: Channel,
        when: impl Future<Output = ()> + Send + 'static,
    ) {
        if self.leaving.contains(&channel) {
            return;
        }
        self.leaving.push(channel.clone());
        let tray = self.tray.clone();
        self.workers.spawn(async move {
            when.await;
            tray.put(Note::Leave(channel));
        });
    }

    /// Takes what has come, and begins what waited for it.
    pub(crate) fn take(&mut self) -> Vec<Done> {
        let notes = self.tray.take();
        notes.into_iter().map(|note| self.taken(note)).collect()
    }

    fn taken(&mut self, note: Note) -> Done {
        match note {
            Note::Answered { about, answered } => {
                self.unanswered -= 1;
                match self.lanes().get_mut(&about).and_then(VecDeque::pop_front) {
                    Some(next) => self.start(next),
                    None => drop(self.lanes().remove(&about)),
                }
                Done::Answered(answered)
            }
            Note::Leave(channel) => {
                self.leaving.retain(|leaving| *leaving != channel);
                Done::Leave(channel)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use serde_json::json;
    use tokio::sync::oneshot;

    use super::*;

    const SOON: std::time::Duration = std::time::Duration::from_secs(60);

    fn job(about: &str, work: Work) -> Job {
        let asked = Asked { to: To::Nobody, then: Then::Nothing, failure: None };
        Job { about: about.to_owned(), is_large: false, asked, work }
    }

    /// Work that ends when it is told to, with what it is told.
    fn told() -> (oneshot::Sender<u64>, Work) {
        let (sender, receiver) = oneshot::channel::<u64>();
        let work = async move { Answer::done(json!({ "n": receiver.await.unwrap() })) };
        (sender, work.boxed())
    }

    fn desk() -> (Desk, Arc<Signal>) {
        let signal = Arc::new(Signal::default());
        (Desk::new(signal.clone(), Connections::new()), signal)
    }

    fn numbers(done: Vec<Done>) -> Vec<u64> {
        let number = |done| match done {
            Done::Answered(Answered { answer, .. }) => answer.into_payload()["n"].as_u64().unwrap(),
            Done::Leave(channel) => panic!("{channel}"),
        };
        done.into_iter().map(number).collect()
    }

    #[tokio::test]
    async fn what_is_about_the_same_thing_waits_for_the_answer_before_it() {
        let (mut desk, signal) = desk();
        let (first, work) = told();
        desk.ask(job("a", work)).unwrap();
        let second = async { Answer::done(json!({ "n": 2 })) };
        desk.ask(job("a", second.boxed())).unwrap();
        let other = async { Answer::done(json!({ "n": 3 })) };
        desk.ask(job("b", other.boxed())).unwrap();
        signal.wait().await;
        assert_eq!(numbers(desk.take()), [3], "another thing does not wait");
        first.send(1).unwrap();
        signal.wait().await;
        assert_eq!(numbers(desk.take()), [1]);
        signal.wait().await;
        assert_eq!(numbers(desk.take()), [2]);
        assert!(desk.is_idle() && desk.lanes().is_empty());
    }

    #[tokio::test]
    async fn work_that_panics_is_told_and_holds_nothing_up() {
        let (mut desk, signal) = desk();
        desk.ask(job("a", async { panic!("as a mistake in the code does") }.boxed())).unwrap();
        desk.ask(job("a", async { Answer::done(json!({ "n": 2 })) }.boxed())).unwrap();
        tokio::time::timeout(SOON, signal.wait()).await.expect("something comes of it");
        let Some(Done::Answered(Answered { answer, .. })) = desk.take().pop() else {
            panic!("nothing was told");
        };
        assert_eq!(answer.into_payload()["code"], "unavailable");
        signal.wait().await;
        assert_eq!(numbers(desk.take()), [2]);
        assert!(desk.is_idle() && desk.lanes().is_empty());
    }

    #[tokio::test]
    async fn more_than_may_wait_is_refused_and_runs_never() {
        let (mut desk, signal) = desk();
        let (first, work) = told();
        desk.ask(job("a", work)).unwrap();
        for n in 1..UNANSWERED as u64 {
            let next = async move { Answer::done(json!({ "n": n })) };
            desk.ask(job("a", next.boxed())).unwrap();
        }
        let surplus = async { panic!("it was refused") };
        assert_eq!(desk.ask(job("b", surplus.boxed())), Err(TOO_MANY_COMMANDS));
        first.send(0).unwrap();
        let mut seen = Vec::new();
        while !desk.is_idle() {
            signal.wait().await;
            seen.extend(numbers(desk.take()));
        }
        assert_eq!(seen, (0..UNANSWERED as u64).collect::<Vec<_>>(), "in their order");
    }

    #[tokio::test]
    async fn few_large_things_wait_for_one() {
        let (mut desk, _signal) = desk();
        let mut gates = Vec::new();
        for _ in 0..LARGE {
            let (gate, work) = told();
            gates.push(gate);
            desk.ask(Job { is_large: true, ..job("voice", work) }).unwrap();
        }
        let next = || job("voice", async { Answer::done(json!({})) }.boxed());
        assert_eq!(desk.ask(Job { is_large: true, ..next() }), Err(TOO_MANY_COMMANDS));
        assert_eq!(desk.ask(next()), Ok(()));
    }

    #[tokio::test]
    async fn a_channel_is_left_when_its_time_has_come() {
        let (mut desk, signal) = desk();
        let channel = Channel::parse("conversation:c").unwrap();
        let (gate, wait) = oneshot::channel::<()>();
        desk.leave_at(channel.clone(), async { wait.await.unwrap() });
        assert!(desk.is_leaving(&channel) && !desk.is_idle());
        gate.send(()).unwrap();
        signal.wait().await;
        assert!(matches!(&desk.take()[..], [Done::Leave(left)] if *left == channel));
        assert!(desk.is_idle());
    }
}

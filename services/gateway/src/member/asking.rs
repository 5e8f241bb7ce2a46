//! What a client asks its session for: commands, and questions that take a while.
//! The answers come from [`Member::answers`] when they are there; meanwhile events go on being delivered.

use std::time::Duration;

use domain::{Channel, owned_id};
use futures_util::FutureExt as _;
use serde_json::Value;

use super::{Lost, Member, Outcome};
use crate::commands::desk::{Answered, Asked, Desk, Done, Job, TOO_MANY_COMMANDS, Then, To, Work};
use crate::commands::{self, Answer, UNKNOWN_COMMAND};
use crate::session::Extent;

/// How long the channel of what has ended is still followed: its last events are stored before the end
/// and may be on their way.
const LINGER: Duration = Duration::from_secs(1);
/// The command after which nothing more comes of a conversation.
const END: &str = "conversation.end";
/// The channels of conversations.
const CONVERSATION: &str = "conversation";

impl Member {
    /// Takes a command; `Some` is its answer already.
    pub(crate) async fn command(
        &mut self,
        name: &str,
        argument: Option<Value>,
        to: To,
    ) -> Result<Option<Answer>, Lost> {
        let edge = self.edge.clone();
        let Some(kind) = edge.catalogue.command(name) else {
            return Ok(Some(UNKNOWN_COMMAND.into()));
        };
        if !self.desk().has_room() {
            return Ok(Some(TOO_MANY_COMMANDS.into()));
        }
        let conversation = self.latest_conversation();
        let asked = commands::Asked {
            argument,
            id: None,
            connection: Some(&self.client_id),
            conversation: conversation.as_deref(),
        };
        let command = match commands::prepare(kind, &self.identity, asked) {
            Ok(command) => command,
            Err(refused) => return Ok(Some(refused)),
        };
        let channel = || Channel::with_id(CONVERSATION, &command.entity).ok();
        let mut then = Then::Nothing;
        if kind.minted.is_some() {
            // Joined before it is begun, so that nothing of it is missed, however late its beginning is told.
            match self.begin(channel()).await? {
                Ok(begun) => then = begun,
                Err(refused) => return Ok(Some(refused)),
            }
        } else if kind.name == END {
            then = channel().map_or(Then::Nothing, Then::Leave);
        }
        let about = format!("{}/{}", command.category(), command.entity);
        let asked = Asked { to, then, failure: kind.failure.as_deref().map(Into::into) };
        let deciding = edge.clone();
        let work = async move { commands::decide(&deciding, command).await }.boxed();
        Ok(self.ask(Job { about, is_large: false, asked, work }))
    }

    async fn begin(&mut self, channel: Option<Channel>) -> Result<Result<Then, Answer>, Lost> {
        let Some(channel) = channel else { return Ok(Ok(Then::Nothing)) };
        if self.line.session().has(&channel) {
            return Ok(Ok(Then::Nothing));
        }
        let joined = self.join(channel.as_str(), None).await?;
        Ok(joined.map(|_| Then::Stay(channel)).map_err(Answer::from))
    }

    /// Takes a question. Those of one connection are answered one after the other; `Some` is its answer already.
    pub(crate) fn question(&mut self, to: To, then: Then, work: Work) -> Option<Answer> {
        let asked = Asked { to, then, failure: None };
        self.ask(Job { about: "questions".to_owned(), is_large: false, asked, work })
    }

    /// Takes a piece of something large about `about`; `Some` is its answer already.
    pub(crate) fn piece(
        &mut self,
        about: String,
        to: To,
        failure: &str,
        work: Work,
    ) -> Option<Answer> {
        let asked = Asked { to, then: Then::Nothing, failure: Some(failure.into()) };
        self.ask(Job { about, is_large: true, asked, work })
    }

    fn ask(&mut self, job: Job) -> Option<Answer> {
        self.desk().ask(job).err().map(Answer::from)
    }

    fn desk(&mut self) -> &mut Desk {
        let (signal, workers) = (self.line.signal(), &self.edge.connections);
        self.desk.get_or_insert_with(|| Box::new(Desk::new(signal, workers.clone())))
    }

    /// Whether [`Member::answers`] has any.
    pub(crate) fn has_answers(&self) -> bool {
        self.desk.as_ref().is_some_and(|desk| desk.has_news())
    }

    /// Takes the answers that have come and does what they mean to the session.
    pub(crate) async fn answers(&mut self) -> Result<Vec<Answered>, Lost> {
        let Some(desk) = &mut self.desk else { return Ok(Vec::new()) };
        let done = desk.take();
        if desk.is_idle() {
            // A connection that idles holds no desk.
            self.desk = None;
        }
        let mut all = Vec::with_capacity(done.len());
        for done in done {
            match done {
                Done::Answered(answered) => all.push(self.answered(answered).await?),
                Done::Leave(channel) => drop(self.leave(channel.as_str()).await?),
            }
        }
        Ok(all)
    }

    async fn answered(&mut self, mut answered: Answered) -> Result<Answered, Lost> {
        let is_ok = answered.answer.is_ok();
        match &answered.asked.then {
            Then::Stay(channel) if !is_ok => drop(self.leave(channel.as_str()).await?),
            Then::Leave(channel) if is_ok => self.leave_soon(channel.clone()),
            Then::Follow(channel) => {
                let cursor = answered.answer.text("cursor");
                if let Err(refused) = self.follow(&channel.clone(), cursor).await? {
                    answered.answer = refused.into();
                }
            }
            Then::Nothing | Then::Stay(_) | Then::Leave(_) => {}
        }
        Ok(answered)
    }

    /// Goes on behind a snapshot, or from now on where there is none. What the client was given while the snapshot was
    /// on its way may not be in it: it is given once more, or the snapshot would take it back for ever.
    async fn follow(&mut self, channel: &Channel, cursor: Option<&str>) -> Outcome<()> {
        let is_in = self.line.session().has(channel);
        if is_in && cursor.is_none_or(|cursor| self.knows(channel, cursor)) {
            return Ok(Ok(()));
        }
        let joined = self.join_with(channel.as_str(), cursor, Extent::All).await?;
        Ok(joined.map(drop))
    }

    /// Whether a snapshot has everything of the channel that the client has been given.
    fn knows(&self, channel: &Channel, cursor: &str) -> bool {
        let session = self.line.session();
        let snapshot = self.edge.catalogue.snapshot_of(channel);
        let view = snapshot.and_then(|snapshot| domain::views::find(snapshot.view));
        let cursor = self.edge.hub.keys.decode(&self.identity.tenant, cursor).ok();
        view.zip(cursor).is_some_and(|(view, cursor)| {
            let given = session.position().sequence(view.stream);
            !session.is_filling() && cursor.position.covers(view.stream, given)
        })
    }

    fn leave_soon(&mut self, channel: Channel) {
        if !self.line.session().has(&channel) {
            return;
        }
        let draining = self.edge.drain.clone();
        self.desk().leave_at(channel, async move {
            tokio::select! {
                () = tokio::time::sleep(LINGER) => {}
                () = draining.cancelled() => {}
            }
        });
    }

    /// The conversation that was begun last on this connection and has not ended.
    pub(crate) fn latest_conversation(&self) -> Option<String> {
        let is_open = |channel: &&Channel| {
            let is_own = |id| owned_id::belongs_to(id, &self.identity.tenant, &self.identity.user);
            channel.kind() == CONVERSATION
                && channel.id().is_some_and(is_own)
                && !self.desk.as_ref().is_some_and(|desk| desk.is_leaving(channel))
        };
        let channels: Vec<_> = self.line.session().channels().collect();
        let latest = channels.into_iter().rev().find(is_open);
        latest.and_then(|channel| channel.id()).map(str::to_owned)
    }
}

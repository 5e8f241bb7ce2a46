//! Figures that are told as they change: how many sessions run in a tenant and whose, how many alerts are open, how many
//! notifications a user has unread.
//!
//! Counted from the tails, which hold nothing but headers, and sent live, never stored. Every instance counts and
//! tells the same; a figure that changes often is told five times a second at most. Nothing hangs on a signal: a view
//! gives the figure to who comes later.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::aggregate::Draft;
use domain::envelope::header::{CAUSATION, CHANNELS};
use domain::{Address, Channel, Subject, Tenant, envelope};
use runtime::tasks::BoxError;
use runtime::{LogMessage, clock, ids};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::record;
use crate::intake::Intake;
use crate::metrics::Way;

mod alerts;
mod sessions;
mod stats;
mod unread;

use alerts::OpenAlerts;
use sessions::Sessions;
use stats::{Told, Turn};
use unread::Unread;

const EVERY: Duration = Duration::from_millis(200);
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// Figures that wait to be told; what is more is told with its next change.
const MOST_WAITING: usize = 10_000;

/// A figure that has changed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Changed {
    Sessions(Tenant),
    Stats(Tenant),
    Unread(Tenant, Channel),
}

#[derive(Default)]
struct Counts {
    sessions: Sessions,
    unread: Unread,
    alerts: OpenAlerts,
    told: Told,
    changed: HashSet<Changed>,
}

#[derive(Default)]
pub(super) struct Signals {
    counts: Mutex<Counts>,
    news: Notify,
}

impl Signals {
    /// Counts events; tells of them if they are news.
    pub(super) fn saw(&self, category: &str, messages: &[LogMessage], news: bool) {
        let count = match category {
            "conversation" => Counts::conversation,
            "crisis" => Counts::crisis,
            "notification" => Counts::notification,
            _ => return,
        };
        let mut counts = self.lock();
        for message in messages {
            let Ok(subject) = Subject::parse(&message.subject) else { continue };
            for changed in count(&mut counts, &subject, message) {
                if news && counts.changed.len() < MOST_WAITING {
                    counts.changed.insert(changed);
                }
            }
        }
        if !counts.changed.is_empty() {
            self.news.notify_one();
        }
    }

    pub(super) fn forget(&self, category: &str) {
        match category {
            "conversation" => self.lock().sessions = Sessions::default(),
            "crisis" => self.lock().alerts = OpenAlerts::default(),
            "notification" => self.lock().unread = Unread::default(),
            _ => {}
        }
    }

    /// Where alerts are open, as far as the tail has come.
    pub(super) fn open_alerts(&self) -> Vec<Address> {
        self.lock().alerts.places()
    }

    /// Tells what changes until `shutdown`.
    pub(super) async fn tell(
        &self,
        intake: &Intake,
        shutdown: CancellationToken,
    ) -> Result<(), BoxError> {
        let mut tidy = tokio::time::interval(TIDY_EVERY);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = self.news.notified() => {}
                _ = tidy.tick() => self.lock().tidy(clock::unix_millis()),
            }
            let figures = self.lock().take(clock::unix_millis());
            for (tenant, draft) in figures {
                send(intake, &tenant, draft).await;
            }
            tokio::time::sleep(EVERY).await;
            if !self.lock().changed.is_empty() {
                self.news.notify_one();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn conversation(&mut self, subject: &Subject, message: &LogMessage) -> Vec<Changed> {
        let (address, name) = (subject.address(), subject.name().as_str());
        let (tenant, at) = (address.tenant(), message.stored_at);
        // The key of the command that it answers begins with who asked.
        let user = message.headers.get(CAUSATION).and_then(|key| key.split_once('/'));
        let user = user.map_or("", |(user, _)| user);
        if !self.sessions.saw(tenant, address.entity(), name, user, at) {
            return Vec::new();
        }
        vec![Changed::Sessions(tenant.clone()), Changed::Stats(tenant.clone())]
    }

    fn crisis(&mut self, subject: &Subject, _message: &LogMessage) -> Vec<Changed> {
        let (address, name) = (subject.address(), subject.name().as_str());
        let changed = self.alerts.saw(address.tenant(), address.entity(), name);
        changed.then(|| Changed::Stats(address.tenant().clone())).into_iter().collect()
    }

    fn notification(&mut self, subject: &Subject, message: &LogMessage) -> Vec<Changed> {
        let (address, name) = (subject.address(), subject.name().as_str());
        let channels = message.headers.get(CHANNELS).and_then(|text| envelope::split(text).ok());
        let people = channels.into_iter().flatten().filter(|channel| channel.kind() == "user");
        let tenant = address.tenant();
        let changed = people.filter(|user| self.unread.saw(tenant, user, address.entity(), name));
        changed.map(|user| Changed::Unread(tenant.clone(), user)).collect()
    }

    fn tidy(&mut self, now: i64) {
        let idle = self.sessions.forget_idle(now);
        let told = |tenant: Tenant| [Changed::Stats(tenant.clone()), Changed::Sessions(tenant)];
        self.changed.extend(idle.into_iter().flat_map(told));
        self.told.tidy();
    }

    fn take(&mut self, now: i64) -> Vec<(Tenant, Draft)> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().filter_map(|changed| self.draft(changed, now)).collect()
    }

    fn draft(&mut self, changed: Changed, now: i64) -> Option<(Tenant, Draft)> {
        match changed {
            Changed::Stats(tenant) => self.stats(tenant, now),
            Changed::Sessions(tenant) => {
                let count = self.sessions.count(&tenant, now);
                Some((tenant, Draft::new("session.active", [("count", count.into())])))
            }
            Changed::Unread(tenant, user) => {
                let unread = self.unread.count(&tenant, &user)?;
                let name = percent_encoding::percent_decode_str(user.id()?).decode_utf8().ok()?;
                let figures = [("userId", name.into()), ("unread", unread.into())];
                Some((tenant, Draft::new("notification.badge", figures)))
            }
        }
    }
}

impl Counts {
    fn stats(&mut self, tenant: Tenant, now: i64) -> Option<(Tenant, Draft)> {
        let users = self.sessions.users(&tenant, now);
        let sessions = self.sessions.count(&tenant, now);
        let alerts = self.alerts.count(&tenant);
        match self.told.turn(&tenant, (users, sessions, alerts), now) {
            Turn::Nothing => None,
            Turn::Wait => {
                self.changed.insert(Changed::Stats(tenant));
                None
            }
            Turn::Tell => {
                let figures = [
                    ("users", users.into()),
                    ("sessions", sessions.into()),
                    ("alerts", alerts.into()),
                ];
                Some((tenant, Draft::new("system.stats", figures)))
            }
        }
    }
}

async fn send(intake: &Intake, tenant: &Tenant, draft: Draft) {
    let (id, now) = (ids::ordered(), clock::now());
    let admitted =
        record::admit_draft(intake.catalogue(), tenant, draft, "tail".to_owned(), &id, now);
    match admitted {
        Ok(admitted) => {
            if let Err(error) = intake.store(Way::Own, admitted).await {
                debug!(%error, "a figure was not told");
            }
        }
        Err(error) => debug!(%error, "a figure was not told"),
    }
}

//! Which conversations run in each tenant. Pure.

use std::collections::{HashMap, HashSet};

use domain::{EntityToken, Tenant};

/// Who has been silent for so long (milliseconds) is no longer counted; a message brings the session back.
const IDLE: i64 = 30 * 60 * 1000;

/// What is known of a running one.
#[derive(Debug)]
struct Session {
    /// When something happened in it last, in unix milliseconds.
    last: i64,
    /// Whose it is.
    user: Box<str>,
}

impl Session {
    fn is_running(&self, now: i64) -> bool {
        now - self.last < IDLE
    }
}

#[derive(Debug, Default)]
pub(super) struct Sessions(HashMap<Tenant, HashMap<EntityToken, Session>>);

impl Sessions {
    /// Whether the number of running sessions has changed.
    pub(super) fn saw(
        &mut self,
        tenant: &Tenant,
        conversation: &EntityToken,
        name: &str,
        user: &str,
        at: i64,
    ) -> bool {
        match name {
            "started" | "message" => {
                let running = self.0.entry(tenant.clone()).or_default();
                if let Some(session) = running.get_mut(conversation) {
                    session.last = at;
                    return false;
                }
                let session = Session { last: at, user: user.into() };
                running.insert(conversation.clone(), session).is_none()
            }
            "ended" => {
                self.0.get_mut(tenant).is_some_and(|running| running.remove(conversation).is_some())
            }
            _ => false,
        }
    }

    pub(super) fn count(&self, tenant: &Tenant, now: i64) -> usize {
        self.running(tenant, now).count()
    }

    /// How many people they belong to.
    pub(super) fn users(&self, tenant: &Tenant, now: i64) -> usize {
        self.running(tenant, now).map(|session| &*session.user).collect::<HashSet<_>>().len()
    }

    fn running(&self, tenant: &Tenant, now: i64) -> impl Iterator<Item = &Session> {
        let all = self.0.get(tenant).into_iter().flat_map(HashMap::values);
        all.filter(move |session| session.is_running(now))
    }

    /// Forgets the silent ones; returns whose number that changes.
    pub(super) fn forget_idle(&mut self, now: i64) -> Vec<Tenant> {
        let mut changed = Vec::new();
        self.0.retain(|tenant, running| {
            let before = running.len();
            running.retain(|_, session| session.is_running(now));
            if running.len() < before {
                changed.push(tenant.clone());
            }
            !running.is_empty()
        });
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_counts_from_its_start_to_its_end_or_a_long_silence() {
        let (acme, mut sessions) = (Tenant::parse("acme").unwrap(), Sessions::default());
        let [one, two] = ["c-1", "c-2"].map(EntityToken::from_external);
        assert!(sessions.saw(&acme, &one, "started", "7", 0));
        assert!(!sessions.saw(&acme, &one, "message", "7", 1), "it runs already");
        assert!(sessions.saw(&acme, &two, "started", "7", IDLE));
        assert!(!sessions.saw(&acme, &two, "rejected", "7", IDLE), "a refusal is no sign of life");
        assert_eq!(sessions.count(&acme, IDLE), 2);
        assert_eq!(sessions.users(&acme, IDLE), 1, "both are of one person");
        assert_eq!(sessions.count(&acme, IDLE + 1), 1);
        assert_eq!(sessions.forget_idle(IDLE + 1), std::slice::from_ref(&acme));
        assert!(sessions.saw(&acme, &two, "ended", "7", IDLE + 2));
        assert!(!sessions.saw(&acme, &two, "ended", "7", IDLE + 3));
        assert_eq!(sessions.count(&acme, IDLE), 0);
        assert!(sessions.forget_idle(IDLE).is_empty() && sessions.0.is_empty());
    }
}

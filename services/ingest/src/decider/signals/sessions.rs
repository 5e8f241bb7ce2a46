//! Which conversations run in each tenant. Pure.

use std::collections::HashMap;

use domain::{EntityToken, Tenant};

/// Who has been silent for so long (milliseconds) is no longer counted; a message brings the session back.
const IDLE: i64 = 30 * 60 * 1000;

/// Conversation → when something happened in it last, in unix milliseconds.
#[derive(Debug, Default)]
pub(super) struct Sessions(HashMap<Tenant, HashMap<EntityToken, i64>>);

impl Sessions {
    /// Whether the number of running sessions has changed.
    pub(super) fn saw(
        &mut self,
        tenant: &Tenant,
        conversation: &EntityToken,
        name: &str,
        at: i64,
    ) -> bool {
        match name {
            "started" | "message" => {
                let running = self.0.entry(tenant.clone()).or_default();
                running.insert(conversation.clone(), at).is_none()
            }
            "ended" => {
                self.0.get_mut(tenant).is_some_and(|running| running.remove(conversation).is_some())
            }
            _ => false,
        }
    }

    pub(super) fn count(&self, tenant: &Tenant, now: i64) -> usize {
        let running = self.0.get(tenant).into_iter().flat_map(HashMap::values);
        running.filter(|last| now - **last < IDLE).count()
    }

    /// Forgets the silent ones; returns whose number that changes.
    pub(super) fn forget_idle(&mut self, now: i64) -> Vec<Tenant> {
        let mut changed = Vec::new();
        self.0.retain(|tenant, running| {
            let before = running.len();
            running.retain(|_, last| now - *last < IDLE);
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
        assert!(sessions.saw(&acme, &one, "started", 0));
        assert!(!sessions.saw(&acme, &one, "message", 1), "it runs already");
        assert!(sessions.saw(&acme, &two, "started", IDLE));
        assert!(!sessions.saw(&acme, &two, "rejected", IDLE), "a refusal is no sign of life");
        assert_eq!(sessions.count(&acme, IDLE), 2);
        assert_eq!(sessions.count(&acme, IDLE + 1), 1);
        assert_eq!(sessions.forget_idle(IDLE + 1), std::slice::from_ref(&acme));
        assert!(sessions.saw(&acme, &two, "ended", IDLE + 2));
        assert!(!sessions.saw(&acme, &two, "ended", IDLE + 3));
        assert_eq!(sessions.count(&acme, IDLE), 0);
        assert!(sessions.forget_idle(IDLE).is_empty() && sessions.0.is_empty());
    }
}

//! Which notifications each user has not read. Pure; bounded for each user and in all.

use std::collections::{BTreeSet, HashMap};
use std::mem;

use domain::{Channel, EntityToken, Tenant};

/// Of one user; whoever has more is told this many.
const MOST: usize = 999;
/// Users in one of two generations: when the younger is full the older is forgotten.
const USERS: usize = 100_000;

type Users = HashMap<(Tenant, Channel), BTreeSet<EntityToken>>;

#[derive(Debug, Default)]
pub(super) struct Unread {
    young: Users,
    old: Users,
    /// Somebody was forgotten: who is not here may have unread ones.
    incomplete: bool,
}

impl Unread {
    /// Whether the number of the user's unread ones has changed.
    pub(super) fn saw(
        &mut self,
        tenant: &Tenant,
        user: &Channel,
        notification: &EntityToken,
        name: &str,
    ) -> bool {
        if !["new", "message", "read", "all_read"].contains(&name) {
            return false;
        }
        let key = (tenant.clone(), user.clone());
        let known = self.young.remove(&key).or_else(|| self.old.remove(&key));
        // Nothing is known of who was forgotten, until everything is read.
        if known.is_none() && self.incomplete && name != "all_read" {
            return false;
        }
        let mut unread = known.unwrap_or_default();
        let changed = match name {
            "read" => unread.remove(notification),
            "all_read" => !mem::take(&mut unread).is_empty(),
            _ => unread.len() < MOST && unread.insert(notification.clone()),
        };
        self.young.insert(key, unread);
        if self.young.len() > USERS {
            let forgotten = mem::replace(&mut self.old, mem::take(&mut self.young));
            self.incomplete |= !forgotten.is_empty();
        }
        changed
    }

    /// `None` for a user who was forgotten.
    pub(super) fn count(&self, tenant: &Tenant, user: &Channel) -> Option<usize> {
        let key = (tenant.clone(), user.clone());
        let known = self.young.get(&key).or_else(|| self.old.get(&key));
        known.map(BTreeSet::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saw(unread: &mut Unread, user: &str, notification: &str, name: &str) -> bool {
        let tenant = Tenant::parse("acme").unwrap();
        let user = Channel::with_id("user", user).unwrap();
        unread.saw(&tenant, &user, &EntityToken::from_external(notification), name)
    }

    fn count(unread: &Unread, user: &str) -> Option<usize> {
        unread.count(&Tenant::parse("acme").unwrap(), &Channel::with_id("user", user).unwrap())
    }

    #[test]
    fn each_user_has_their_own_unread_ones() {
        let mut unread = Unread::default();
        assert!(saw(&mut unread, "7", "n-1", "new"));
        assert!(!saw(&mut unread, "7", "n-1", "new"), "told twice is one");
        assert!(saw(&mut unread, "7", "n-2", "message"));
        assert!(saw(&mut unread, "8", "n-1", "new"));
        assert!(saw(&mut unread, "7", "n-1", "read"));
        assert!(!saw(&mut unread, "7", "n-1", "rejected"));
        assert_eq!((count(&unread, "7"), count(&unread, "8")), (Some(1), Some(1)));
        assert!(saw(&mut unread, "7", "7", "all_read"));
        assert_eq!((count(&unread, "7"), count(&unread, "8")), (Some(0), Some(1)));
    }

    #[test]
    fn memory_is_bounded_and_who_was_forgotten_is_told_no_wrong_number() {
        let mut unread = Unread::default();
        for notification in 0..2_000 {
            saw(&mut unread, "7", &notification.to_string(), "new");
        }
        assert_eq!(count(&unread, "7"), Some(MOST));
        for user in 0..=2 * USERS {
            saw(&mut unread, &format!("u{user}"), "n", "new");
        }
        assert!(unread.young.len() + unread.old.len() <= 2 * USERS + 2);
        assert_eq!(count(&unread, "7"), None);
        assert!(!saw(&mut unread, "7", "n-9", "new"));
        assert_eq!(count(&unread, "7"), None);
        saw(&mut unread, "7", "7", "all_read");
        assert_eq!(count(&unread, "7"), Some(0), "known again");
    }
}

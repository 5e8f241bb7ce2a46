//! Which alerts are open. Pure.

use std::collections::{HashMap, HashSet};

use domain::{Address, EntityToken, Tenant, Token};

/// Open alerts of all tenants that are known by their place; what is more has its clock all the same.
const MOST: usize = 200_000;

/// What has an open alert: a conversation, or a user where there is none.
#[derive(Debug, Default)]
pub(super) struct OpenAlerts {
    open: HashMap<Tenant, HashSet<EntityToken>>,
    count: usize,
}

impl OpenAlerts {
    /// Whether the number of open alerts has changed.
    pub(super) fn saw(&mut self, tenant: &Tenant, about: &EntityToken, name: &str) -> bool {
        match name {
            "alert" if self.count < MOST => {
                let is_new = self.open.entry(tenant.clone()).or_default().insert(about.clone());
                self.count += usize::from(is_new);
                is_new
            }
            "resolved" => {
                let Some(open) = self.open.get_mut(tenant) else { return false };
                let was_open = open.remove(about);
                if open.is_empty() {
                    self.open.remove(tenant);
                }
                self.count -= usize::from(was_open);
                was_open
            }
            _ => false,
        }
    }

    pub(super) fn count(&self, tenant: &Tenant) -> usize {
        self.open.get(tenant).map_or(0, HashSet::len)
    }

    pub(super) fn places(&self) -> Vec<Address> {
        let Ok(category) = Token::parse("crisis") else { return Vec::new() };
        let of = |(tenant, open): (&Tenant, &HashSet<EntityToken>)| -> Vec<Address> {
            open.iter().map(|about| Address::new(tenant, &category, about)).collect()
        };
        self.open.iter().flat_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_open_until_it_is_resolved() {
        let (acme, mut alerts) = (Tenant::parse("acme").unwrap(), OpenAlerts::default());
        let [one, two] = ["c-1", "c-2"].map(EntityToken::from_external);
        assert!(alerts.saw(&acme, &one, "alert"));
        assert!(!alerts.saw(&acme, &one, "escalated"));
        assert!(!alerts.saw(&acme, &one, "acknowledged"));
        assert!(alerts.saw(&acme, &two, "alert"));
        assert_eq!((alerts.count(&acme), alerts.places().len()), (2, 2));
        assert!(alerts.saw(&acme, &one, "resolved"));
        assert!(!alerts.saw(&acme, &one, "resolved"));
        assert_eq!(alerts.places()[0].guard(), "events.acme.crisis.c-2.>");
        assert!(alerts.saw(&acme, &two, "resolved"));
        assert_eq!((alerts.count(&acme), alerts.open.len()), (0, 0));
    }
}

//! Places for pieces of speech that wait in this instance: so many in all, and so many for one tenant, so that a tenant
//! whose service is slow leaves places to the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::Tenant;

/// Pieces that one instance holds, each up to a megabyte.
const HELD: usize = 128;
/// How many of them may be one tenant's.
const HELD_OF_TENANT: usize = 32;

#[derive(Clone, Default)]
pub(super) struct Places {
    taken: Arc<Mutex<HashMap<Tenant, usize>>>,
}

/// A place, which is free again when this is dropped.
pub(super) struct Place {
    tenant: Tenant,
    places: Places,
}

impl Places {
    /// `None` when all places, or those of the tenant, are taken.
    pub(super) fn take(&self, tenant: &Tenant) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(tenant).copied().unwrap_or(0);
        if own >= HELD_OF_TENANT || taken.values().sum::<usize>() >= HELD {
            return None;
        }
        taken.insert(tenant.clone(), own + 1);
        Some(Place { tenant: tenant.clone(), places: self.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.tenant) {
            Some(own) if *own > 1 => *own -= 1,
            _ => {
                taken.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(places: &Places, tenant: &str) -> Vec<Place> {
        let tenant = Tenant::parse(tenant).unwrap();
        std::iter::from_fn(|| places.take(&tenant)).collect()
    }

    #[test]
    fn a_tenant_that_takes_all_it_can_leaves_places_to_the_others() {
        let places = Places::default();
        let slow = all(&places, "slow");
        assert_eq!(slow.len(), HELD_OF_TENANT);
        assert_eq!(all(&places, "other").len(), HELD_OF_TENANT);
    }

    #[test]
    fn all_together_take_no_more_than_there_are_and_give_them_back() {
        let places = Places::default();
        let held: Vec<_> = (0..10).flat_map(|at| all(&places, &format!("t-{at}"))).collect();
        assert_eq!(held.len(), HELD);
        drop(held);
        assert!(places.taken.lock().unwrap().is_empty());
        assert_eq!(all(&places, "t-1").len(), HELD_OF_TENANT);
    }
}

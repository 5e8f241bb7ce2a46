//! What administrators were told of each tenant last, and when. Pure.

use std::collections::HashMap;

use domain::Tenant;

/// The figures are told this often at most, in milliseconds.
const EVERY: i64 = 1_000;

/// Users, sessions, alerts.
pub(super) type Figures = (usize, usize, usize);

#[derive(Debug, Default)]
pub(super) struct Told(HashMap<Tenant, (i64, Figures)>);

/// What to do about figures that may have changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    Tell,
    /// They were told a moment ago.
    Wait,
    /// They are as they were told.
    Nothing,
}

impl Told {
    pub(super) fn turn(&mut self, tenant: &Tenant, figures: Figures, now: i64) -> Turn {
        match self.0.get(tenant) {
            Some((_, told)) if *told == figures => return Turn::Nothing,
            Some((at, _)) if now - at < EVERY => return Turn::Wait,
            Some(_) | None => {}
        }
        self.0.insert(tenant.clone(), (now, figures));
        Turn::Tell
    }

    /// Tenants in which nothing goes on are forgotten; they are told of anew when something does.
    pub(super) fn tidy(&mut self) {
        self.0.retain(|_, (_, figures)| *figures != (0, 0, 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_told_when_they_change_and_once_a_second_at_most() {
        let (acme, mut told) = (Tenant::parse("acme").unwrap(), Told::default());
        assert_eq!(told.turn(&acme, (1, 1, 0), 0), Turn::Tell);
        assert_eq!(told.turn(&acme, (1, 1, 0), 5_000), Turn::Nothing);
        assert_eq!(told.turn(&acme, (1, 2, 0), 5_000), Turn::Tell);
        assert_eq!(told.turn(&acme, (1, 2, 1), 5_999), Turn::Wait);
        assert_eq!(told.turn(&acme, (1, 2, 1), 6_000), Turn::Tell);
        assert_eq!(told.turn(&acme, (0, 0, 0), 7_000), Turn::Tell);
        told.tidy();
        assert!(told.0.is_empty());
    }
}

//! What is known of the platform's parts, and which of it is news. Pure.

use std::collections::BTreeMap;

use runtime::health::{EVERY, Standing};

/// The services of a platform; each has as many instances as are heard.
const SERVICES: [&str; 4] = ["ai-proxy", "gateway", "ingest", "replay"];
/// What all of them are connected by.
const NATS: &str = "nats";
/// Who has not been heard for so long (milliseconds) is gone.
const LEASE: i64 = EVERY.as_millis() as i64 * 7 / 2;
/// What changes to and fro is told this often (milliseconds) of each part at most.
const AT_MOST_EVERY: i64 = 3_000;
/// What is not well is told again after so long (milliseconds), for those who have come meanwhile.
const AGAIN_AFTER: i64 = 15_000;
/// Instances that are kept; of more nothing is known.
const MOST: usize = 1_000;
/// Conditions that are named.
const MOST_NAMED: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Status {
    Ok,
    /// It serves, with less than it should.
    Degraded,
    Down,
}

impl Status {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct State {
    pub(super) status: Status,
    /// Empty where there is nothing to say.
    pub(super) message: String,
}

impl State {
    fn new(status: Status, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

struct Instance {
    heard_at: i64,
    missing: Vec<String>,
}

struct Told {
    at: i64,
    state: State,
}

/// By service and instance.
type Instances = BTreeMap<(&'static str, String), Instance>;

pub(super) struct Table {
    instances: Instances,
    /// What was told last of each part that has been well at least once. Of a service that a platform does without,
    /// or that begins, there is nothing to tell.
    told: BTreeMap<&'static str, Told>,
}

impl Table {
    pub(super) const fn new() -> Self {
        Self { instances: BTreeMap::new(), told: BTreeMap::new() }
    }

    pub(super) fn hear(&mut self, standing: Standing, now: i64) {
        let Standing { service, node, missing, leaves } = standing;
        let Some(service) = SERVICES.into_iter().find(|known| *known == service) else { return };
        let key = (service, node);
        if leaves {
            self.instances.remove(&key);
        } else if self.instances.len() < MOST || self.instances.contains_key(&key) {
            self.instances.insert(key, Instance { heard_at: now, missing });
        }
    }

    /// What is to be told now.
    pub(super) fn look(&mut self, is_connected: bool, now: i64) -> Vec<(&'static str, State)> {
        let mut states = vec![(NATS, of_nats(is_connected))];
        if is_connected {
            self.instances.retain(|_, instance| now - instance.heard_at < LEASE);
            states.extend(SERVICES.map(|service| (service, self.state(service))));
        } else {
            // Nobody can be heard, which says nothing of them.
            self.instances.values_mut().for_each(|instance| instance.heard_at = now);
        }
        states.retain(|(component, state)| self.is_news(component, state, now));
        states
    }

    /// Whether something is to be told, which is noted.
    fn is_news(&mut self, component: &'static str, state: &State, now: i64) -> bool {
        let is_well = state.status == Status::Ok;
        let is_news = match self.told.get(component) {
            Some(told) if told.state == *state => !is_well && now - told.at >= AGAIN_AFTER,
            Some(told) => now - told.at >= AT_MOST_EVERY,
            None if is_well => {
                // It counts as told, long ago.
                let at = now - AT_MOST_EVERY;
                self.told.insert(component, Told { at, state: state.clone() });
                false
            }
            None => false,
        };
        if is_news {
            self.told.insert(component, Told { at: now, state: state.clone() });
        }
        is_news
    }

    fn state(&self, service: &str) -> State {
        let of_service = self.instances.iter().filter(|((of, _), _)| *of == service);
        let all: Vec<_> = of_service.map(|(_, instance)| instance).collect();
        if all.is_empty() {
            return State::new(Status::Down, "No instance is there.");
        }
        let waiting = all.iter().filter(|instance| !instance.missing.is_empty()).count();
        if waiting == 0 {
            return State::new(Status::Ok, "");
        }
        let mut names: Vec<_> = all.iter().flat_map(|instance| &instance.missing).collect();
        names.sort_unstable();
        names.dedup();
        names.truncate(MOST_NAMED);
        let names: Vec<_> = names.into_iter().map(String::as_str).collect();
        let message =
            format!("Not ready: {waiting} of {}; missing: {}.", all.len(), names.join(", "));
        let status = if waiting < all.len() { Status::Degraded } else { Status::Down };
        State::new(status, message)
    }
}

fn of_nats(is_connected: bool) -> State {
    if is_connected {
        State::new(Status::Ok, "")
    } else {
        State::new(Status::Down, "The gateway cannot reach it.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(service: &str, node: &str, missing: &[&str]) -> Standing {
        let missing = missing.iter().map(|&name| name.to_owned()).collect();
        Standing { service: service.to_owned(), node: node.to_owned(), missing, leaves: false }
    }

    fn statuses(news: &[(&'static str, State)]) -> Vec<(&'static str, Status)> {
        news.iter().map(|(component, state)| (*component, state.status)).collect()
    }

    /// A table that knows every service as ready.
    fn healthy(now: i64) -> Table {
        let mut table = Table::new();
        beat(&mut table, &SERVICES, now);
        assert_eq!(table.look(true, now), [], "that all are well is no news");
        table
    }

    fn beat(table: &mut Table, services: &[&str], now: i64) {
        services.iter().for_each(|service| table.hear(standing(service, "1", &[]), now));
    }

    #[test]
    fn a_service_that_falls_silent_is_down_and_one_that_comes_back_is_well() {
        let (mut table, others) = (healthy(0), ["ai-proxy", "gateway", "ingest"]);
        beat(&mut table, &others, LEASE - 1);
        assert_eq!(table.look(true, LEASE - 1), []);
        assert_eq!(statuses(&table.look(true, LEASE)), [("replay", Status::Down)]);
        let back = LEASE + AT_MOST_EVERY;
        beat(&mut table, &SERVICES, back);
        assert_eq!(statuses(&table.look(true, back)), [("replay", Status::Ok)]);
    }

    #[test]
    fn one_of_two_that_waits_is_less_than_there_should_be() {
        let mut table = healthy(0);
        table.hear(standing("ingest", "2", &["idempotency"]), AT_MOST_EVERY);
        let news = table.look(true, AT_MOST_EVERY);
        let message = "Not ready: 1 of 2; missing: idempotency.";
        assert_eq!(news, [("ingest", State::new(Status::Degraded, message))]);
        table.hear(standing("ingest", "1", &["nats"]), 2 * AT_MOST_EVERY);
        beat(&mut table, &["ai-proxy", "gateway", "replay"], 2 * AT_MOST_EVERY);
        let news = table.look(true, 2 * AT_MOST_EVERY);
        assert_eq!(statuses(&news), [("ingest", Status::Down)]);
    }

    #[test]
    fn who_leaves_on_purpose_is_not_waited_for() {
        let mut table = healthy(0);
        table.hear(standing("ingest", "2", &[]), 0);
        table.hear(Standing { leaves: true, ..standing("ingest", "1", &[]) }, 1);
        assert_eq!(table.look(true, AT_MOST_EVERY), [], "the other serves");
        table.hear(Standing { leaves: true, ..standing("ingest", "2", &[]) }, AT_MOST_EVERY);
        assert_eq!(statuses(&table.look(true, AT_MOST_EVERY)), [("ingest", Status::Down)]);
    }

    #[test]
    fn while_nats_is_away_nothing_is_said_of_those_who_cannot_be_heard() {
        let mut table = healthy(0);
        let away = 10 * LEASE;
        assert_eq!(statuses(&table.look(false, away)), [(NATS, Status::Down)]);
        let back = away + AT_MOST_EVERY;
        assert_eq!(statuses(&table.look(true, back)), [(NATS, Status::Ok)]);
    }

    #[test]
    fn what_changes_to_and_fro_is_told_a_bounded_number_of_times() {
        let (mut table, mut told) = (healthy(0), 0);
        for now in 1..=2 * AT_MOST_EVERY {
            beat(&mut table, &SERVICES, now);
            let missing: &[&str] = if now % 2 == 0 { &[] } else { &["nats"] };
            table.hear(standing("ingest", "1", missing), now);
            told += table.look(true, now).len();
        }
        assert!((1..=2).contains(&told), "{told} of six thousand changes");
    }

    #[test]
    fn of_a_service_that_was_never_well_nothing_is_told() {
        let mut table = Table::new();
        assert_eq!(table.look(true, 2 * LEASE), [], "a platform may do without it");
        table.hear(standing("unheard-of", "1", &[]), 2 * LEASE);
        table.hear(standing("ingest", "1", &["nats"]), 2 * LEASE);
        assert_eq!(table.look(true, 2 * LEASE), [], "it begins");
        table.hear(standing("ingest", "1", &[]), 2 * LEASE);
        assert_eq!(table.look(true, 2 * LEASE), []);
        table.hear(standing("ingest", "1", &["nats"]), 2 * LEASE);
        assert_eq!(statuses(&table.look(true, 2 * LEASE)), [("ingest", Status::Down)]);
    }

    #[test]
    fn what_is_not_well_is_told_again_for_who_has_come_meanwhile() {
        let (mut table, others) = (healthy(0), ["ai-proxy", "gateway", "ingest"]);
        let down = [("replay", Status::Down)];
        let mut told_at = Vec::new();
        for now in 0..=LEASE + AGAIN_AFTER {
            beat(&mut table, &others, now);
            let news = table.look(true, now);
            if !news.is_empty() {
                assert_eq!(statuses(&news), down);
                told_at.push(now);
            }
        }
        assert_eq!(told_at, [LEASE, LEASE + AGAIN_AFTER]);
    }
}

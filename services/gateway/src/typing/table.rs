//! Who writes to whom: what this gateway's clients do, and what has been heard of all. Pure; the time is handed in,
//! in milliseconds.

use std::collections::HashMap;
use std::sync::Arc;

use domain::Tenant;

use crate::presence::AttendantId;

/// Writers that are remembered at one time.
const MOST: usize = 50_000;

/// Somebody at a contact.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Writer {
    pub(super) tenant: Tenant,
    pub(super) user: Arc<str>,
    pub(super) contact: Arc<str>,
    pub(super) account: Option<Arc<str>>,
}

type Key = (Tenant, Arc<str>, Arc<str>);

impl Writer {
    fn key(&self) -> Key {
        (self.tenant.clone(), self.user.clone(), self.contact.clone())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Full;

struct Keyboard {
    writer: Writer,
    connection: AttendantId,
    /// When it counts as silent.
    until: i64,
    /// When the others are to be told again.
    repeat_at: i64,
}

/// What this gateway's clients do.
pub(super) struct Keyboards {
    timeout: i64,
    active: HashMap<Key, Keyboard>,
}

impl Keyboards {
    pub(super) fn new(timeout: i64) -> Self {
        Self { timeout, active: HashMap::new() }
    }

    /// Whether the others are to be told: now and then while it goes on, so that they can tell it from a gateway
    /// that has gone.
    pub(super) fn start(
        &mut self,
        writer: &Writer,
        connection: AttendantId,
        now: i64,
    ) -> Result<bool, Full> {
        let (until, repeat_at) = (now + self.timeout, now + self.timeout / 3);
        let is_full = self.active.len() >= MOST;
        match self.active.get_mut(&writer.key()) {
            Some(keyboard) => {
                keyboard.until = until;
                keyboard.connection = connection;
                let is_due = keyboard.repeat_at <= now;
                if is_due {
                    keyboard.repeat_at = repeat_at;
                }
                Ok(is_due)
            }
            None if is_full => Err(Full),
            None => {
                let writer = writer.clone();
                let keyboard = Keyboard { writer, connection, until, repeat_at };
                self.active.insert(keyboard.writer.key(), keyboard);
                Ok(true)
            }
        }
    }

    /// Who has stopped, with what it said when it began; nobody when it writes at another connection meanwhile.
    pub(super) fn stop(&mut self, writer: &Writer, connection: AttendantId) -> Option<Writer> {
        let key = writer.key();
        let is_its = self.active.get(&key).is_some_and(|it| it.connection == connection);
        if is_its { self.active.remove(&key).map(|keyboard| keyboard.writer) } else { None }
    }

    pub(super) fn gone(&mut self, connection: AttendantId) -> Vec<Writer> {
        if self.active.is_empty() {
            return Vec::new();
        }
        self.end(|keyboard| keyboard.connection == connection)
    }

    pub(super) fn expire(&mut self, now: i64) -> Vec<Writer> {
        self.end(|keyboard| keyboard.until <= now)
    }

    fn end(&mut self, mut is_over: impl FnMut(&Keyboard) -> bool) -> Vec<Writer> {
        let ended = self.active.extract_if(|_, keyboard| is_over(keyboard));
        ended.map(|(_, keyboard)| keyboard.writer).collect()
    }
}

/// What has been heard of all gateways' clients.
pub(super) struct Indicators {
    /// Longer than a gateway takes to repeat what goes on.
    lease: i64,
    active: HashMap<Key, (Writer, i64)>,
}

impl Indicators {
    pub(super) fn new(timeout: i64) -> Self {
        Self { lease: timeout + timeout / 2, active: HashMap::new() }
    }

    /// Whether it is news.
    pub(super) fn hear(&mut self, writer: Writer, is_typing: bool, now: i64) -> bool {
        let key = writer.key();
        if !is_typing {
            return self.active.remove(&key).is_some();
        }
        if self.active.len() >= MOST && !self.active.contains_key(&key) {
            return false;
        }
        self.active.insert(key, (writer, now + self.lease)).is_none()
    }

    /// Who has not been heard of for too long.
    pub(super) fn expire(&mut self, now: i64) -> Vec<Writer> {
        let unheard = self.active.extract_if(|_, (_, until)| *until <= now);
        unheard.map(|(_, (writer, _))| writer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: i64 = 6_000;

    fn writer(user: &str) -> Writer {
        Writer {
            tenant: Tenant::parse("acme").unwrap(),
            user: user.into(),
            contact: "c-1".into(),
            account: Some("a-7".into()),
        }
    }

    #[test]
    fn refreshes_are_told_now_and_then_and_keep_the_timeout_away() {
        let mut keyboards = Keyboards::new(TIMEOUT);
        assert_eq!(keyboards.start(&writer("7"), 1, 0), Ok(true));
        assert_eq!(keyboards.start(&writer("7"), 1, 500), Ok(false));
        assert_eq!(keyboards.start(&writer("7"), 1, 2_000), Ok(true));
        assert_eq!(keyboards.start(&writer("7"), 1, 3_000), Ok(false));
        assert_eq!(keyboards.expire(8_999), []);
        assert_eq!(keyboards.expire(9_000), [writer("7")]);
        assert_eq!(keyboards.start(&writer("7"), 1, 9_100), Ok(true), "it begins again");
    }

    #[test]
    fn a_stop_and_the_end_of_a_connection_end_only_what_is_theirs() {
        let mut keyboards = Keyboards::new(TIMEOUT);
        keyboards.start(&writer("7"), 1, 0).unwrap();
        keyboards.start(&writer("8"), 2, 0).unwrap();
        // The same person goes on at another device.
        keyboards.start(&writer("7"), 3, 10).unwrap();
        assert_eq!(keyboards.stop(&writer("7"), 1), None);
        assert_eq!(keyboards.gone(1), []);
        assert_eq!(keyboards.gone(2), [writer("8")]);
        assert_eq!(keyboards.stop(&writer("7"), 3), Some(writer("7")));
        assert_eq!(keyboards.stop(&writer("7"), 3), None);
    }

    #[test]
    fn what_is_heard_again_is_no_news_and_what_is_not_heard_again_ends() {
        let mut indicators = Indicators::new(TIMEOUT);
        assert!(indicators.hear(writer("7"), true, 0));
        assert!(!indicators.hear(writer("7"), true, 2_000));
        assert!(!indicators.hear(writer("8"), false, 2_000), "it never began");
        assert_eq!(indicators.expire(10_999), []);
        assert_eq!(indicators.expire(11_000), [writer("7")]);
        assert!(!indicators.hear(writer("7"), false, 11_001), "it has been taken back");
    }

    #[test]
    fn the_number_of_writers_is_bounded() {
        let mut keyboards = Keyboards::new(TIMEOUT);
        let mut indicators = Indicators::new(TIMEOUT);
        for user in 0..MOST {
            keyboards.start(&writer(&user.to_string()), 1, 0).unwrap();
            indicators.hear(writer(&user.to_string()), true, 0);
        }
        assert_eq!(keyboards.start(&writer("one more"), 1, 0), Err(Full));
        assert_eq!(keyboards.start(&writer("7"), 1, 0), Ok(false), "who is known goes on");
        assert!(!indicators.hear(writer("one more"), true, 0));
    }
}

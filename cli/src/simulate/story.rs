//! Which stories run and whose turn it is: several at once, each in its own order, the same again for the same seed.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use time::OffsetDateTime;

use crate::simulate::sending::Sending;
use crate::simulate::{calls, messages};

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Twilio and CallerDesk calls
    Calls,
    /// WhatsApp messages and their statuses
    Messages,
    /// Campaigns from start to figures
    Campaigns,
    /// Everything, mixed
    All,
}

/// Stories under way at once.
const AT_ONCE: usize = 6;

pub(crate) struct Stories {
    kind: Kind,
    random: StdRng,
    /// Each reversed, so that the next sending is the last.
    open: Vec<Vec<Sending>>,
}

impl Stories {
    pub(crate) fn new(kind: Kind, seed: u64) -> Self {
        Self { kind, random: StdRng::seed_from_u64(seed), open: Vec::new() }
    }

    /// The next request of one of the open stories; a finished one makes room for a new one.
    pub(crate) fn next(&mut self, now: OffsetDateTime) -> Sending {
        loop {
            self.open.retain(|story| !story.is_empty());
            while self.open.len() < AT_ONCE {
                let mut story = self.begin(now);
                story.reverse();
                self.open.push(story);
            }
            let turn = self.random.random_range(0..self.open.len());
            if let Some(sending) = self.open[turn].pop() {
                return sending;
            }
        }
    }

    fn begin(&mut self, now: OffsetDateTime) -> Vec<Sending> {
        let random = &mut self.random;
        match self.kind {
            Kind::Calls => call(random, now),
            Kind::Messages => messages::whatsapp(random, now),
            Kind::Campaigns => messages::campaign(random),
            Kind::All => match random.random_range(0..10_u8) {
                0..5 => call(random, now),
                5..8 => messages::whatsapp(random, now),
                _ => messages::campaign(random),
            },
        }
    }
}

fn call(random: &mut StdRng, now: OffsetDateTime) -> Vec<Sending> {
    if random.random_bool(0.7) {
        calls::twilio(random, now)
    } else {
        calls::callerdesk(random, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(seed: u64, count: usize) -> Vec<Sending> {
        let mut stories = Stories::new(Kind::All, seed);
        (0..count).map(|_| stories.next(OffsetDateTime::UNIX_EPOCH)).collect()
    }

    #[test]
    fn the_same_seed_tells_the_same_stories() {
        assert_eq!(told(7, 200), told(7, 200));
        assert_ne!(told(7, 200), told(8, 200));
    }

    #[test]
    fn every_kind_of_traffic_comes_up() {
        let about: Vec<String> = told(1, 500).iter().map(Sending::about).collect();
        for wanted in [
            "twilio call-status completed",
            "twilio recording-status completed",
            "twilio amd-status human",
            "callerdesk live_call",
            "callerdesk call_report",
            "whatsapp message",
            "whatsapp read",
            "campaign.started",
            "campaign.progress",
            "campaign.completed",
        ] {
            assert!(about.iter().any(|it| it == wanted), "no {wanted}");
        }
    }

    #[test]
    fn a_call_goes_through_its_statuses_in_order() {
        let mut random = StdRng::seed_from_u64(3);
        for _ in 0..50 {
            let numbers: Vec<String> = calls::twilio(&mut random, OffsetDateTime::UNIX_EPOCH)
                .into_iter()
                .filter_map(|sending| match sending {
                    Sending::Twilio { kind: "call-status", fields } => {
                        fields.into_iter().find(|(name, _)| *name == "SequenceNumber")
                    }
                    _ => None,
                })
                .map(|(_, number)| number)
                .collect();
            let expected: Vec<String> =
                (0..numbers.len()).map(|number| number.to_string()).collect();
            assert_eq!(numbers, expected);
            assert!(numbers.len() >= 2);
        }
    }
}

mod callerdesk;
mod elevenlabs;
mod rubbish;
mod standard;
mod twilio;
mod whatsapp;

use serde_json::Value;
use time::OffsetDateTime;

use super::{Mapped, Observation};
use crate::catalogue::{Admitted, Catalogue, Defaults};
use crate::channel::Channel;
use crate::token::Tenant;

/// Maps and admits as ingest does: what a mapper says must pass the catalogue.
#[track_caller]
fn admitted(mapped: Mapped) -> Vec<(Observation, Admitted)> {
    let catalogue = Catalogue::builtin().unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let tenant = acme();
    let admit = |observation: Observation| {
        let defaults = Defaults { id: "e".into(), now: OffsetDateTime::UNIX_EPOCH };
        let publication = observation.clone().into_publication("source");
        match catalogue.admit_own(&tenant, publication, defaults) {
            Ok(admitted) => (observation, admitted),
            Err(refusal) => panic!("{}: {refusal}", observation.event_type),
        }
    };
    mapped.unwrap().into_iter().map(admit).collect()
}

fn acme() -> Tenant {
    Tenant::parse("acme").unwrap()
}

#[track_caller]
fn one(mapped: Mapped) -> (Observation, Admitted) {
    let mut all = admitted(mapped);
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn channels(admitted: &Admitted) -> Vec<&str> {
    admitted.envelope.channels.iter().map(Channel::as_str).collect()
}

fn stored(admitted: &Admitted) -> Value {
    serde_json::from_slice(&admitted.envelope.data).unwrap()
}

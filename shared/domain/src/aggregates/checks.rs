//! What all aggregates are tested with: one entity and its log, where everything passes the catalogue's gate.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::blank;
use crate::aggregate::{self, Draft, Entity, RecordedEvent};
use crate::catalogue::{Catalogue, Defaults, Publication};
use crate::channel::Channel;
use crate::command::{Actor, Command};
use crate::identity::Role;
use crate::token::Tenant;

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::builtin().unwrap());

/// One entity's events, and the seconds since the first.
pub(super) struct History {
    pub(super) entity: Box<dyn Entity>,
    pub(super) events: Vec<RecordedEvent>,
    pub(super) second: i64,
}

pub(super) fn command(kind: &str, entity: &str, actor: (&str, Role), data: Value) -> Command {
    Command {
        id: "k".into(),
        kind: kind.into(),
        tenant: Tenant::parse("acme").unwrap(),
        entity: entity.into(),
        actor: Actor { user: actor.0.into(), role: actor.1 },
        connection: Some("p-1".into()),
        reply: None,
        time: OffsetDateTime::UNIX_EPOCH,
        data: data.as_object().cloned().unwrap_or_default(),
    }
}

impl History {
    pub(super) fn of(category: &str) -> Self {
        Self { entity: blank(category).unwrap(), events: Vec::new(), second: 0 }
    }

    pub(super) fn now(&self) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::seconds(self.second)
    }

    /// Something that somebody else reports.
    pub(super) fn observe(&mut self, event_type: &str, data: Value, audience: &[&str]) {
        let audience = audience.iter().map(|user| (*user).to_owned()).collect();
        let publication = Publication { audience, ..Publication::new(event_type, "test", data) };
        self.append(publication);
    }

    /// Asks under an id of its own; a repeat asks under the same one.
    pub(super) fn ask_as(&mut self, id: &str, command: &Command) -> Value {
        let command = Command { id: id.into(), ..command.clone() };
        let sequence = match self.entity.decided(&command.key()) {
            Some(sequence) => sequence,
            None => self.decide(&command),
        };
        let record = self.events.iter().find(|event| event.sequence == sequence).unwrap();
        let mut answer = aggregate::answer(&command.id, record);
        answer.remove("timestamp");
        answer.remove("commandId");
        Value::Object(answer)
    }

    pub(super) fn ask(&mut self, command: &Command) -> Value {
        let id = format!("k-{}", self.events.len());
        self.ask_as(&id, command)
    }

    /// What else is told because of the last event.
    pub(super) fn follow_ups(&self) -> Vec<Draft> {
        let last = self.events.last().unwrap();
        let drafts = self.entity.follow_ups(last);
        for draft in &drafts {
            let data = Value::Object(draft.data.clone());
            let publication = Publication::new(draft.event_type, "test", data);
            let tenant = Tenant::parse("acme").unwrap();
            CATALOGUE.admit_own(&tenant, publication, self.defaults()).unwrap();
        }
        drafts
    }

    fn decide(&mut self, command: &Command) -> u64 {
        let decision = self.entity.decide(command, self.now());
        let draft = aggregate::record_of(command, decision).unwrap();
        let publication = Publication {
            channels: draft.channels,
            causation_id: Some(command.key()),
            ..Publication::new(draft.event_type, "test", Value::Object(draft.data))
        };
        let address = self.append(publication);
        assert_eq!(address, command.address().unwrap(), "a record stays on its entity");
        self.entity.revision()
    }

    fn defaults(&self) -> Defaults {
        Defaults { id: format!("e-{}", self.events.len() + 1), now: self.now() }
    }

    fn append(&mut self, publication: Publication) -> crate::Address {
        let tenant = Tenant::parse("acme").unwrap();
        let admitted = CATALOGUE.admit_own(&tenant, publication, self.defaults()).unwrap();
        assert!(admitted.stream.is_some(), "a record is stored");
        let sequence = self.events.len() as u64 + 1;
        let event = RecordedEvent::new(admitted.envelope, sequence, self.now());
        self.entity.evolve(&event);
        self.events.push(event);
        admitted.subject.address().clone()
    }
}

/// What happens to an entity in a random test.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Who asks (of three), under which of a few ids, and what (of the commands under test).
    Ask(usize, usize, usize),
    /// One of the observations under test.
    Observe(usize),
    /// Time passes.
    Wait(i64),
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..3usize, 0..6usize, 0..16usize).prop_map(|(a, b, c)| Step::Ask(a, b, c)),
        2 => (0..16usize).prop_map(Step::Observe),
        1 => (0..40i64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..40)
}

/// What an aggregate is tried with.
pub(super) struct Trial<'a> {
    pub(super) category: &'static str,
    pub(super) entity: &'a str,
    pub(super) commands: &'a [(&'a str, Value)],
    pub(super) observations: &'a [(&'a str, Value)],
}

/// Runs the steps and checks what holds for every aggregate: a command is recorded once and answered alike ever after,
/// folding the log again gives the same, and nothing that is recorded fails.
#[track_caller]
pub(super) fn holds(trial: &Trial<'_>, steps: &[Step]) {
    let mut history = History::of(trial.category);
    let mut answers = std::collections::BTreeMap::new();
    for step in steps {
        match step {
            Step::Wait(seconds) => history.second += seconds,
            Step::Observe(which) => {
                let count = trial.observations.len();
                if let Some((event_type, data)) = trial.observations.get(which % count.max(1)) {
                    history.observe(event_type, data.clone(), &[]);
                }
            }
            Step::Ask(who, id, what) => {
                let actor = [("7", Role::User), ("8", Role::Agent), ("9", Role::Admin)][*who];
                let (kind, data) = &trial.commands[what % trial.commands.len()];
                let command = command(kind, trial.entity, actor, data.clone());
                let id = format!("k-{id}");
                let recorded = history.events.len();
                let answer = history.ask_as(&id, &command);
                let first = answers
                    .entry((actor.0, *kind, id))
                    .or_insert_with(|| (answer.clone(), recorded + 1));
                assert_eq!(first.0, answer, "a repeat gets the first answer");
                assert!(history.events.len() <= recorded + 1);
                history.follow_ups();
            }
        }
    }
    let asked = history.events.iter().filter(|event| event.causation_id.is_some()).count();
    assert_eq!(asked, answers.len(), "one record a command");
    refolds_alike(&history, trial.category);
}

fn refolds_alike(history: &History, category: &str) {
    let mut again = blank(category).unwrap();
    for event in history.events.iter().flat_map(|event| [event, event]) {
        again.evolve(event);
    }
    assert_eq!(format!("{again:?}"), format!("{:?}", history.entity));
}

/// Whatever order facts of others come in, the fold of them is the same.
#[track_caller]
pub(super) fn any_order(category: &str, shuffled: Vec<(&str, Value)>) {
    let fold = |facts: &[(&str, Value)]| {
        let mut history = History::of(category);
        facts.iter().for_each(|(event_type, data)| history.observe(event_type, data.clone(), &[]));
        format!("{:?}", history.entity)
    };
    let mut sorted = shuffled.clone();
    sorted.sort_by_key(|(event_type, data)| (event_type.to_string(), data.to_string()));
    assert_eq!(fold(&shuffled), fold(&sorted));
}

#[test]
fn rubbish_in_the_log_changes_nothing_and_breaks_nothing() {
    for category in super::CATEGORIES {
        let mut entity = blank(category).unwrap();
        let blank = format!("{entity:?}");
        for name in ["update", "started", "read", "nonsense", ""] {
            for (at, data) in [json!({}), json!({ "status": 7, "userId": [] })].iter().enumerate() {
                entity.evolve(&RecordedEvent {
                    sequence: at as u64,
                    stored_at: OffsetDateTime::UNIX_EPOCH,
                    id: String::new(),
                    event_type: format!("other.{name}"),
                    causation_id: None,
                    channels: vec![Channel::parse("admin").unwrap()],
                    data: data.as_object().unwrap().clone(),
                });
            }
        }
        assert_eq!(blank.replace("revision: 0", "revision: 1"), format!("{entity:?}"));
        let nonsense = command("call.nonsense", "x", ("9", Role::Admin), json!({}));
        assert!(entity.decide(&nonsense, OffsetDateTime::UNIX_EPOCH).is_err(), "{category}");
    }
}

//! What follows from a finding of the screen: help for the person, and an alert. Both have ids that follow from what
//! was said, so that whoever finds it, however often, adds nothing. It must not know who looks, nor when.

use std::sync::Arc;

use domain::catalogue::{Defaults, Publication};
use domain::command::Actor;
use domain::safety::{Finding, Severity};
use domain::{Command, Role, Tenant};
use runtime::catalogue::LiveCatalogue;
use runtime::event_log::{Append, AppendError};
use runtime::nats::Nats;
use runtime::{clock, ids};
use serde_json::{Value, json};
use tracing::error;

use super::Settings;
use crate::prompts::Templates;
use crate::voice::is_spoken;

const STATE_CHANGE: &str = "safety.state_change";
/// The source of what the screen appends, and the actor of what it asks for.
const SOURCE: &str = "/screen";
const ACTOR: &str = "screen";
/// As much as the catalogue lets an alert hold of what an operator's files may name at any length.
const MOST_SIGNALS: usize = 64;
const LONGEST: usize = 256;

#[derive(Clone)]
pub(crate) struct Alarm {
    inner: Arc<Inner>,
}

struct Inner {
    nats: Nats,
    catalogue: LiveCatalogue,
    settings: Settings,
    templates: Templates,
}

/// In which something was found. It holds none of the text.
pub(crate) struct Said<'a> {
    pub tenant: &'a Tenant,
    /// See [`key_of`].
    pub key: &'a str,
    /// The event that says it.
    pub cause: &'a str,
    pub conversation: &'a str,
    pub user: &'a str,
}

/// What tells one thing that was said from another: what was spoken is text first and a message then, and one thing.
pub(crate) fn key_of<'a>(message: &'a str, event: &'a str) -> &'a str {
    if is_spoken(message) { message } else { event }
}

impl Alarm {
    pub(crate) fn new(
        nats: Nats,
        catalogue: LiveCatalogue,
        settings: Settings,
        templates: Templates,
    ) -> Self {
        Self { inner: Arc::new(Inner { nats, catalogue, settings, templates }) }
    }

    pub(crate) fn find(&self, text: &str) -> Option<Finding> {
        self.inner.settings.rules().screen(text)
    }

    /// To the person: something to hold on to, before anybody has looked.
    pub(crate) async fn offer_help(
        &self,
        said: &Said<'_>,
        severity: Severity,
    ) -> Result<(), AppendError> {
        let Some(state) = state(severity).filter(|_| !said.user.is_empty()) else { return Ok(()) };
        let data = json!({
            "userId": said.user,
            "conversationId": said.conversation,
            "state": state,
            "resources": self.resources(said.tenant),
        });
        let mut publication = Publication::new(STATE_CHANGE, SOURCE, data);
        publication.key = Some(said.key.to_owned());
        publication.causation_id = Some(said.cause.to_owned());
        let defaults = Defaults { id: ids::ordered(), now: clock::now() };
        let admitted = match self.inner.catalogue.admit_own(said.tenant, publication, defaults) {
            Ok(admitted) => admitted,
            Err(refusal) => {
                error!(%refusal, "help could not be offered; see the resources of SAFETY_DIR");
                return Ok(());
            }
        };
        let log = self.inner.nats.event_log();
        log.publish_envelope(&admitted.subject, &admitted.message_id, &admitted.envelope, None)
            .await?;
        Ok(())
    }

    pub(crate) async fn raise(
        &self,
        said: &Said<'_>,
        finding: &Finding,
    ) -> Result<(), AppendError> {
        let command = self.command(said, finding);
        let subject = match command.subject() {
            Ok(subject) => subject,
            Err(error) => {
                error!(%error, "an alert has no place in the log and could not be raised");
                return Ok(());
            }
        };
        self.inner
            .nats
            .event_log()
            .append(Append {
                subject,
                message_id: format!("{}:{SOURCE}:{}", said.tenant, said.key),
                headers: command.headers(),
                payload: command.payload(),
                expect: None,
            })
            .await?;
        Ok(())
    }

    /// What asks for the alert. Handed in twice it is decided once.
    pub(crate) fn command(&self, said: &Said<'_>, finding: &Finding) -> Command {
        // An alert is about somebody; where nobody is named, about whoever is in the conversation.
        let user = if said.user.is_empty() { said.conversation } else { said.user };
        let raised_by = format!("{ACTOR} {}", self.inner.settings.rules().version());
        let data = json!({
            "userId": user,
            "conversationId": said.conversation,
            "severity": finding.severity.name(),
            "signals": signals(finding),
            "raisedBy": clipped(&raised_by, LONGEST),
        });
        Command {
            id: format!("{ACTOR}-{}", said.key),
            kind: "crisis.raise".to_owned(),
            tenant: said.tenant.clone(),
            entity: said.conversation.to_owned(),
            actor: Actor { user: ACTOR.to_owned(), role: Role::Service },
            connection: None,
            reply: None,
            time: clock::now(),
            data: data.as_object().cloned().unwrap_or_default(),
        }
    }

    /// An operator's list for the screen, else the one for the AI, else the built-in one.
    fn resources(&self, tenant: &Tenant) -> Vec<Value> {
        let settings = &self.inner.settings;
        let prompt = self.inner.templates.of(tenant.as_str());
        match settings.offered().for_tenant(tenant.as_str()) {
            Some(own) => own,
            None if prompt.own_resources => prompt.resources.clone(),
            None => settings.builtin().to_vec(),
        }
    }
}

fn signals(finding: &Finding) -> Vec<&str> {
    finding.signals.iter().take(MOST_SIGNALS).map(|signal| clipped(signal, LONGEST)).collect()
}

fn clipped(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// What the person's application is told; a message that is only worth a look changes nothing for its writer.
const fn state(severity: Severity) -> Option<&'static str> {
    match severity {
        Severity::Imminent | Severity::High => Some("crisis"),
        Severity::Moderate => Some("at_risk"),
        Severity::Low => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_an_operators_rules_are_called_their_alert_is_one_that_the_catalogue_takes() {
        let catalogue = domain::catalogue::Catalogue::builtin().unwrap();
        let names = (0..200).map(|number| format!("{number}{}", "ä".repeat(4096)));
        let finding = Finding { severity: Severity::Imminent, signals: names.collect() };
        let raised_by = "ä-1 ".repeat(500);
        let data = json!({
            "alertId": "c-1-1", "userId": "7", "conversationId": "c-1", "severity": "imminent",
            "signals": signals(&finding), "raisedBy": clipped(&raised_by, LONGEST),
        });
        catalogue.by_type("crisis.alert").unwrap().validate(&data).unwrap();
    }
}

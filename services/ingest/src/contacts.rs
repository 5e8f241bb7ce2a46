//! Whose a telephone number is, asked of the read side while the report of a call waits to be stored.
//! The report does not depend on it: where nobody answers in time, or too many ask, it goes without the name.

use std::time::Duration;

use domain::protection::locked_in;
use domain::replay::view::{ContactAnswer, ContactRequest};
use domain::replay::{Answer, question};
use domain::{Tenant, subject};
use runtime::nats::Nats;
use runtime::requests::RequestError;
use runtime::telemetry::chain;
use runtime::vault::Vault;
use serde_json::Value;
use tokio::sync::Semaphore;
use tracing::debug;

use crate::metrics::{Lookup, Metrics};

/// The provider waits for its answer meanwhile.
const WITHIN: Duration = Duration::from_millis(300);
/// So many reports at most wait for a name; those beyond go without one at once.
const AT_ONCE: usize = 64;

pub(crate) struct Contacts {
    nats: Nats,
    vault: Vault,
    metrics: Metrics,
    places: Semaphore,
}

/// Why nothing is known of a number. Never with the answer's own words: those are a person's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
enum Unanswered {
    #[error("too many names are being asked for")]
    Busy,
    #[error("the read side does not answer")]
    Silent(#[source] RequestError),
    #[error("the read side refused the question: {0}")]
    Refused(String),
    #[error("the answer cannot be read")]
    Unreadable,
}

impl Contacts {
    pub(crate) fn new(nats: &Nats, vault: &Vault, metrics: &Metrics) -> Self {
        let places = Semaphore::new(AT_ONCE);
        Self { nats: nats.clone(), vault: vault.clone(), metrics: metrics.clone(), places }
    }

    /// The name of the contact with this number, sealed where the log has it sealed.
    pub(crate) async fn name(&self, tenant: &Tenant, number: &str) -> Option<String> {
        let answered = self.ask(tenant, number).await;
        let answered = answered.map(|name| name.filter(|name| self.can_be_read(tenant, name)));
        self.metrics.looked_up(match &answered {
            Ok(Some(_)) => Lookup::Named,
            Ok(None) => Lookup::Unknown,
            Err(_) => Lookup::Unanswered,
        });
        answered.unwrap_or_else(|error| {
            debug!(error = chain(&error), "a call is reported without its contact's name");
            None
        })
    }

    async fn ask(&self, tenant: &Tenant, number: &str) -> Result<Option<String>, Unanswered> {
        let _place = self.places.try_acquire().map_err(|_| Unanswered::Busy)?;
        let subject = subject::replay_request(tenant, question::CONTACT_BY_PHONE);
        let asked = ContactRequest { phone: number.to_owned() };
        let asked = serde_json::to_vec(&asked).map_err(|_| Unanswered::Unreadable)?;
        let answer = self.nats.request(&subject, asked.into(), WITHIN).await;
        name_in(&answer.map_err(Unanswered::Silent)?)
    }

    /// The name of a person who was erased would be no more than the trace of one.
    fn can_be_read(&self, tenant: &Tenant, name: &str) -> bool {
        let json = Value::from(name).to_string();
        locked_in(json.as_bytes(), tenant, |owner| self.vault.known(owner)).is_empty()
    }
}

fn name_in(answer: &[u8]) -> Result<Option<String>, Unanswered> {
    match serde_json::from_slice::<Answer<ContactAnswer>>(answer) {
        Ok(Answer::Ok(answer)) => Ok(answer.name()),
        Ok(Answer::Refused { code, .. }) => Err(Unanswered::Refused(code)),
        Err(_) => Err(Unanswered::Unreadable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_name_or_none_or_says_why_not() {
        let named = |answer: &str| name_in(answer.as_bytes());
        let maya = r#"{"ok":{"contact":{"id":"c1","name":"Maya"}}}"#;
        assert_eq!(named(maya), Ok(Some("Maya".to_owned())));
        for nobody in ["null", r#"{"id":"c1"}"#, r#"{"id":"c1","name":null}"#] {
            assert_eq!(named(&format!(r#"{{"ok":{{"contact":{nobody}}}}}"#)), Ok(None), "{nobody}");
        }
        let refused = r#"{"refused":{"code":"not_ready","message":"later"}}"#;
        assert_eq!(named(refused), Err(Unanswered::Refused("not_ready".to_owned())));
        assert_eq!(named("Maya"), Err(Unanswered::Unreadable));
    }
}

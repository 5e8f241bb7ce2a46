//! The only place that writes or reads the subjects of events.
//!
//! `events.<tenant>.<category>.<entity>.<name>`; an [`Address`] gives a subject and the guard that covers it
//! together, because a guard that does not cover its subject is accepted by the server and protects nothing.

use std::fmt;

use crate::token::{EntityToken, InvalidToken, Tenant, Token};

const STORED: &str = "events";
const EPHEMERAL: &str = "live";
const VOICE: &str = "voice";

/// One entity of one tenant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    tenant: Tenant,
    category: Token,
    entity: EntityToken,
}

impl Address {
    pub fn new(tenant: &Tenant, category: &Token, entity: &EntityToken) -> Self {
        Self { tenant: tenant.clone(), category: category.clone(), entity: entity.clone() }
    }

    /// The subject of a stored event of this entity.
    pub fn event(&self, name: &Token) -> Subject {
        self.subject(STORED, name)
    }

    /// The subject of an ephemeral event of this entity, which no stream binds.
    pub fn ephemeral(&self, name: &Token) -> Subject {
        self.subject(EPHEMERAL, name)
    }

    /// Covers every stored event of this entity; used with the expected last sequence.
    pub fn guard(&self) -> String {
        format!("{STORED}.{}.{}.{}.>", self.tenant, self.category, self.entity)
    }

    fn subject(&self, root: &str, name: &Token) -> Subject {
        Subject {
            text: format!("{root}.{}.{}.{}.{name}", self.tenant, self.category, self.entity),
            address: self.clone(),
            name: name.clone(),
        }
    }

    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    pub fn category(&self) -> &Token {
        &self.category
    }

    pub fn entity(&self) -> &EntityToken {
        &self.entity
    }
}

/// The subject of one event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subject {
    text: String,
    address: Address,
    name: Token,
}

impl Subject {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn address(&self) -> &Address {
        &self.address
    }

    pub fn name(&self) -> &Token {
        &self.name
    }

    pub fn is_stored(&self) -> bool {
        self.text.starts_with("events.")
    }

    pub fn parse(text: &str) -> Result<Self, InvalidToken> {
        let mut parts = text.split('.');
        let mut next = || parts.next().ok_or(InvalidToken);
        let root = next()?;
        let address = Address {
            tenant: Tenant::parse(next()?)?,
            category: Token::parse(next()?)?,
            entity: EntityToken::parse(next()?)?,
        };
        let name = Token::parse(next()?)?;
        if parts.next().is_some() || ![STORED, EPHEMERAL].contains(&root) {
            return Err(InvalidToken);
        }
        Ok(Self { text: text.to_owned(), address, name })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What one tenant's stored events match.
pub fn stored_filter(tenant: &Tenant) -> String {
    format!("{STORED}.{tenant}.>")
}

/// What every tenant's stored events of one category match.
pub fn category_filter(category: &str) -> String {
    format!("{STORED}.*.{category}.>")
}

/// What one tenant's ephemeral events match; `None` stands for every tenant.
pub fn ephemeral_filter(tenant: Option<&Tenant>) -> String {
    format!("{EPHEMERAL}.{}.>", tenant.map_or("*", Tenant::as_str))
}

/// Every stored event of whatever category that is about one entity.
pub fn entity_filter(tenant: &Tenant, entity: &EntityToken) -> String {
    format!("{STORED}.{tenant}.*.{entity}.>")
}

/// Where a piece of speech of a conversation is handed over: a request to the AI side, which is no event.
pub fn voice_request(tenant: &Tenant, conversation: &EntityToken) -> String {
    format!("{VOICE}.{tenant}.{conversation}.data")
}

/// Those requests of every tenant, for who answers them.
pub fn voice_requests() -> String {
    format!("{VOICE}.*.*.data")
}

/// The tenant and the conversation that a piece of speech belongs to.
pub fn conversation_of_voice(subject: &str) -> Result<(Tenant, EntityToken), InvalidToken> {
    let mut tokens = subject.strip_prefix("voice.").ok_or(InvalidToken)?.split('.');
    let mut next = || tokens.next().ok_or(InvalidToken);
    Ok((Tenant::parse(next()?)?, EntityToken::parse(next()?)?))
}

/// The tenant of a subject such as `events.<tenant>.…` or `publish.<tenant>.…`.
pub fn tenant_of(subject: &str) -> Result<Tenant, InvalidToken> {
    Tenant::parse(subject.split('.').nth(1).unwrap_or_default())
}

/// Where a refused publication or an unreadable payload of a tenant is kept.
pub fn quarantine(tenant: &Tenant, origin: &Token) -> String {
    format!("quarantine.{tenant}.{origin}")
}

/// Where what is kept under a quarantine subject came from.
pub fn origin_of(quarantined: &str) -> Option<&str> {
    quarantined.strip_prefix("quarantine.")?.split('.').nth(1)
}

/// Where an event of this subject is handed in for the write side to admit.
pub fn publication(subject: &Subject) -> String {
    let address = subject.address();
    let (tenant, category, entity) = (address.tenant(), address.category(), address.entity());
    format!("publish.{tenant}.{category}.{entity}.{}", subject.name())
}

/// Where a team hears which of its publications were refused.
pub fn rejected_notice(tenant: &Tenant) -> String {
    format!("publish.{tenant}.rejected")
}

/// Where a clock of an entity is set, and where it appears when it has run out: both in one stream, as schedules must be.
pub fn timer(tenant: &Tenant, entity: &EntityToken, id: &EntityToken) -> String {
    format!("timers.set.{tenant}.{entity}.{id}")
}

pub fn due_timer(tenant: &Tenant, entity: &EntityToken, id: &EntityToken) -> String {
    format!("timers.due.{tenant}.{entity}.{id}")
}

/// The tenant of a clock that has run out.
pub fn tenant_of_timer(subject: &str) -> Result<Tenant, InvalidToken> {
    let rest = subject.strip_prefix("timers.due.").ok_or(InvalidToken)?;
    Tenant::parse(rest.split('.').next().unwrap_or_default())
}

/// Where a gateway hands in what it has delivered to whom.
pub fn receipts(tenant: &Tenant, gateway: &EntityToken) -> String {
    format!("commands.{tenant}.receipt.{gateway}.batch")
}

/// Where the read side answers questions about a tenant's log.
pub fn replay_request(tenant: &Tenant, question: &str) -> String {
    format!("replay.request.{tenant}.{question}")
}

/// One kind of question of every tenant, for those who answer.
pub fn replay_requests(question: &str) -> String {
    format!("replay.request.*.{question}")
}

/// The tenant that a question to the read side is about.
pub fn tenant_of_request(subject: &str) -> Result<Tenant, InvalidToken> {
    let rest = subject.strip_prefix("replay.request.").ok_or(InvalidToken)?;
    Tenant::parse(rest.split('.').next().unwrap_or_default())
}

/// Where what was quarantined of a tenant is given to the write side once more: a request with the stored message's
/// headers (`Nats-Subject` tells its origin) and payload, answered with [`crate::replay::Answer`].
pub fn redrive(tenant: &Tenant) -> String {
    format!("ingest.redrive.{tenant}")
}

/// Those requests of every tenant, for who answers them.
pub fn redrive_requests() -> &'static str {
    "ingest.redrive.*"
}

/// The tenant that a request to redrive is about.
pub fn tenant_of_redrive(subject: &str) -> Result<Tenant, InvalidToken> {
    Tenant::parse(subject.strip_prefix("ingest.redrive.").ok_or(InvalidToken)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Address {
        Address::new(
            &Tenant::parse("acme").unwrap(),
            &Token::parse("call").unwrap(),
            &EntityToken::from_external("CA42"),
        )
    }

    #[test]
    fn subject_and_guard_of_one_address_belong_together() {
        let subject = address().event(&Token::parse("update").unwrap());
        assert_eq!(subject.as_str(), "events.acme.call.CA42.update");
        assert_eq!(address().guard(), "events.acme.call.CA42.>");
        assert_eq!(Subject::parse(subject.as_str()).unwrap(), subject);
    }

    #[test]
    fn what_is_written_for_the_read_side_is_read_back() {
        let acme = Tenant::parse("acme").unwrap();
        assert_eq!(tenant_of_request(&replay_request(&acme, "refs")).unwrap(), acme);
        assert!(tenant_of_request("events.acme.call.CA42.update").is_err());
        let kept = quarantine(&acme, &Token::parse("webhook").unwrap());
        assert_eq!((tenant_of(&kept).unwrap(), origin_of(&kept)), (acme, Some("webhook")));
    }

    #[test]
    fn a_piece_of_speech_goes_where_the_ai_side_listens() {
        let (acme, c9) = (Tenant::parse("acme").unwrap(), EntityToken::from_external("c-9"));
        let subject = voice_request(&acme, &c9);
        assert_eq!(subject, "voice.acme.c-9.data");
        assert_eq!(voice_requests(), "voice.*.*.data");
        assert_eq!(conversation_of_voice(&subject).unwrap(), (acme, c9));
    }

    #[test]
    fn other_shapes_are_refused() {
        for bad in ["events.acme.call.CA42", "other.a.b.c.d", "events.a.b.c.d.e", "events.*.b.c.d"]
        {
            assert!(Subject::parse(bad).is_err(), "{bad}");
        }
    }
}

//! What somebody asks the platform to do: authorised and valid, stored on its way to the decider.
//!
//! `commands.<tenant>.<category>.<entity>.<name>`, attributes in headers like an event's, the JSON data as payload.
//! Every attempt to hand one in is a message of its own; what makes two of them one is [`Command::key`].

use bytes::Bytes;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::envelope::{Headers, header, parse_rfc3339, rfc3339};
use crate::identity::{Identity, Role};
use crate::subject::{self, Address};
use crate::token::{EntityToken, InvalidToken, Tenant, Token};

const ROOT: &str = "commands";
/// The most bytes an id of a caller's own may have.
pub const MAX_ID: usize = 128;

/// The headers that carry what an event has no use for.
pub mod command_header {
    pub const ACTOR: &str = "tl-actor";
    pub const ROLE: &str = "tl-role";
    /// The connection it came over, whose channel gets answers meant for the sender alone.
    pub const CONNECTION: &str = "tl-connection";
    /// Where the decision is awaited.
    pub const REPLY: &str = "tl-reply";
}

/// Who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Actor {
    pub user: String,
    pub role: Role,
}

impl From<&Identity> for Actor {
    fn from(identity: &Identity) -> Self {
        Self { user: identity.user.to_string(), role: identity.role }
    }
}

#[derive(Clone, PartialEq, Debug)]
pub struct Command {
    /// The caller's own id, or one made for it.
    pub id: String,
    /// `<category>.<rest>`, such as `crisis.acknowledge`.
    pub kind: String,
    pub tenant: Tenant,
    /// What it is about, as it is called outside.
    pub entity: String,
    pub actor: Actor,
    pub connection: Option<String>,
    pub reply: Option<String>,
    pub time: OffsetDateTime,
    pub data: Map<String, Value>,
}

/// A stored command that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("the header {0} is missing or malformed")]
    Header(&'static str),
    #[error("the subject is none of a command")]
    Subject(#[from] InvalidToken),
    #[error("the payload is no JSON object")]
    Data,
}

/// Whether a subject is that of a command, readable or not.
pub fn is_command(subject: &str) -> bool {
    subject.split('.').next() == Some(ROOT)
}

impl Command {
    /// The same for every attempt of one caller to have one thing done; what was decided is found by it. It tells what
    /// was asked for: an id that is used again for something else is no repeat.
    pub fn key(&self) -> String {
        format!("{}/{}/{}", self.actor.user, self.kind, self.id)
    }

    pub fn category(&self) -> &str {
        self.kind.split_once('.').map_or(&*self.kind, |(category, _)| category)
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.data.get(name)?.as_str()
    }

    /// The entity that decides it, whose events are its state.
    pub fn address(&self) -> Result<Address, InvalidToken> {
        let category = Token::parse(self.category())?;
        Ok(Address::new(&self.tenant, &category, &EntityToken::from_external(&self.entity)))
    }

    /// Where it waits for its decision.
    pub fn subject(&self) -> Result<String, InvalidToken> {
        let address = self.address()?;
        let rest = self.kind.split_once('.').map_or("", |(_, rest)| rest);
        let name = Token::parse(&rest.replace('.', "-"))?;
        let (tenant, category, entity) = (address.tenant(), address.category(), address.entity());
        Ok(format!("{ROOT}.{tenant}.{category}.{entity}.{name}"))
    }

    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            (header::ID, self.id.clone()),
            (header::TYPE, self.kind.clone()),
            (header::SUBJECT, self.entity.clone()),
            (header::TIME, rfc3339(self.time)),
            (header::CONTENT_TYPE, "application/json".to_owned()),
            (command_header::ACTOR, self.actor.user.clone()),
            (command_header::ROLE, self.actor.role.name().to_owned()),
        ];
        let optional =
            [(command_header::CONNECTION, &self.connection), (command_header::REPLY, &self.reply)];
        headers.extend(optional.into_iter().filter_map(|(n, v)| Some((n, v.clone()?))));
        headers
    }

    pub fn payload(&self) -> Bytes {
        Value::Object(self.data.clone()).to_string().into()
    }

    pub fn from_message(
        subject: &str,
        headers: &impl Headers,
        payload: &[u8],
    ) -> Result<Self, Unreadable> {
        let required = |name| headers.get(name).ok_or(Unreadable::Header(name));
        let role = required(command_header::ROLE)?;
        Ok(Self {
            id: required(header::ID)?.to_owned(),
            kind: required(header::TYPE)?.to_owned(),
            tenant: subject::tenant_of(subject)?,
            entity: required(header::SUBJECT)?.to_owned(),
            actor: Actor {
                user: required(command_header::ACTOR)?.to_owned(),
                role: Role::parse(role).ok_or(Unreadable::Header(command_header::ROLE))?,
            },
            connection: headers.get(command_header::CONNECTION).map(str::to_owned),
            reply: headers.get(command_header::REPLY).map(str::to_owned),
            time: parse_rfc3339(required(header::TIME)?).ok_or(Unreadable::Header(header::TIME))?,
            data: serde_json::from_slice(payload).map_err(|_| Unreadable::Data)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn command() -> Command {
        Command {
            id: "k-1".into(),
            kind: "crisis.acknowledge".into(),
            tenant: Tenant::parse("acme").unwrap(),
            entity: "conversation 9".into(),
            actor: Actor { user: "7".into(), role: Role::Admin },
            connection: Some("p-1".into()),
            reply: None,
            time: OffsetDateTime::UNIX_EPOCH,
            data: json!({ "alertId": "conversation 9-1" }).as_object().unwrap().clone(),
        }
    }

    struct Carried(Vec<(&'static str, String)>);

    impl Headers for Carried {
        fn get(&self, name: &str) -> Option<&str> {
            self.0.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str())
        }
    }

    #[test]
    fn a_command_survives_its_way_through_the_stream() {
        let sent = command();
        let subject = sent.subject().unwrap();
        let read = Command::from_message(&subject, &Carried(sent.headers()), &sent.payload());
        assert_eq!(read.unwrap(), sent);
    }

    #[test]
    fn an_outside_id_never_becomes_part_of_the_subject_as_it_is() {
        let mut command = command();
        command.entity = "a.b.>".into();
        assert_eq!(command.subject().unwrap(), "commands.acme.crisis._xYS5iLj4.acknowledge");
    }

    #[test]
    fn two_callers_with_the_same_id_ask_for_two_things() {
        let (mine, mut yours) = (command(), command());
        yours.actor.user = "8".into();
        assert_ne!(mine.key(), yours.key());
    }
}

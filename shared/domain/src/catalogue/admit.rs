//! The gate's pure half: a publication becomes a valid event with its subject, channels and message id, or is refused.
//! This is the hot path of every append: the data is moved, never cloned, and serialised once.

use bytes::Bytes;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::Catalogue;
use super::event_type::{Delivery, EventType};
use super::schema::Violation;
use super::template::Unfilled;
use crate::channel::Channel;
use crate::envelope::{Envelope, rfc3339};
use crate::stream::StreamId;
use crate::subject::{Address, Subject};
use crate::token::{EntityToken, Tenant};

/// The most channels one event may belong to; they travel in one header.
pub const MAX_CHANNELS: usize = 256;
/// The most bytes an id, a source or a key may have; they travel in headers too.
const MAX_ATTRIBUTE: usize = 512;

/// What somebody wants stored or sent.
#[derive(Clone, PartialEq, Debug)]
pub struct Publication {
    /// The event's type or one of its wire names.
    pub event_type: String,
    pub id: Option<String>,
    pub source: String,
    /// What repeats of the same fact have in common; the id where there is none.
    pub key: Option<String>,
    pub time: Option<OffsetDateTime>,
    pub data: Value,
    /// Users whose channels also get it.
    pub audience: Vec<String>,
    /// Channels besides those of the catalogue.
    pub channels: Vec<Channel>,
    pub correlation_id: Option<String>,
    pub causation_id: Option<String>,
}

/// What the edge knows and a publication may leave out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Defaults {
    pub id: String,
    pub now: OffsetDateTime,
}

/// A valid event and where it goes.
#[derive(Clone, PartialEq, Debug)]
pub struct Admitted {
    pub subject: Subject,
    /// `None` for an ephemeral event.
    pub stream: Option<StreamId>,
    pub message_id: String,
    pub delivery: Delivery,
    pub envelope: Envelope,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    #[error("no event type or wire name is called {0:?}")]
    UnknownType(String),
    #[error("{0} records a decision of the platform and cannot be published; send a command")]
    Closed(String),
    #[error("data{}: {}", .0.pointer, .0.reason)]
    Invalid(Violation),
    #[error("{0} must be 1 to 512 bytes without control characters")]
    BadAttribute(&'static str),
    #[error("the channel {0} is not declared")]
    UnknownChannel(String),
    #[error(
        "it would reach nobody: give an audience or one of the fields that name a channel: {0}"
    )]
    NoChannel(String),
    #[error("more than {MAX_CHANNELS} channels")]
    TooManyChannels,
}

impl Publication {
    /// A publication with nothing optional.
    pub fn new(event_type: impl Into<String>, source: impl Into<String>, data: Value) -> Self {
        Self {
            event_type: event_type.into(),
            id: None,
            source: source.into(),
            key: None,
            time: None,
            data,
            audience: Vec::new(),
            channels: Vec::new(),
            correlation_id: None,
            causation_id: None,
        }
    }
}

impl Catalogue {
    /// Admits what comes from outside; decisions of the platform are refused.
    pub fn admit(
        &self,
        tenant: &Tenant,
        publication: Publication,
        defaults: Defaults,
    ) -> Result<Admitted, Refusal> {
        let event = self.known(&publication)?;
        if event.closed {
            return Err(Refusal::Closed(event.name.clone()));
        }
        self.admit_as(event, tenant, publication, defaults)
    }

    /// Admits what the platform itself has decided or observed.
    pub fn admit_own(
        &self,
        tenant: &Tenant,
        publication: Publication,
        defaults: Defaults,
    ) -> Result<Admitted, Refusal> {
        let event = self.known(&publication)?;
        self.admit_as(event, tenant, publication, defaults)
    }

    fn known(&self, publication: &Publication) -> Result<&EventType, Refusal> {
        self.resolve(&publication.event_type)
            .ok_or_else(|| Refusal::UnknownType(publication.event_type.chars().take(128).collect()))
    }

    fn admit_as(
        &self,
        event: &EventType,
        tenant: &Tenant,
        publication: Publication,
        defaults: Defaults,
    ) -> Result<Admitted, Refusal> {
        let time = publication.time.unwrap_or(defaults.now);
        let id = attribute("id", publication.id.unwrap_or(defaults.id))?;
        let source = attribute("source", publication.source)?;
        let key = publication.key.map(|key| attribute("key", key)).transpose()?;
        let correlation_id = optional_attribute("correlationid", publication.correlation_id)?;
        let causation_id = optional_attribute("causationid", publication.causation_id)?;

        let data = event.complete(publication.data, &id, time).map_err(Refusal::Invalid)?;
        let channels =
            self.channels_for(event, &data, &publication.audience, publication.channels)?;
        let subject = subject(event, tenant, &data)?;
        let step = event.steps.as_ref();
        let step = step.and_then(|steps| steps.key(subject.address().entity().as_str(), &data));
        let key = step.or(key);
        Ok(Admitted {
            subject,
            stream: event.stream,
            message_id: [tenant.as_str(), ":", &source, ":", key.as_deref().unwrap_or(&id)]
                .concat(),
            delivery: event.delivery,
            envelope: Envelope {
                id,
                source,
                event_type: event.name.clone(),
                version: event.version,
                time,
                tenant: tenant.clone(),
                channels,
                critical: event.delivery == Delivery::Critical,
                correlation_id,
                causation_id,
                data: written(&data),
            },
        })
    }

    fn channels_for(
        &self,
        event: &EventType,
        data: &Value,
        audience: &[String],
        extra: Vec<Channel>,
    ) -> Result<Vec<Channel>, Refusal> {
        let mut channels = Vec::with_capacity(event.channels.len() + audience.len() + extra.len());
        let mut add = |channel: Channel| {
            if !channels.contains(&channel) {
                channels.push(channel);
            }
        };
        for template in &event.channels {
            if let Some(name) = template.fill(data).map_err(unfilled)? {
                add(Channel::parse(&name).map_err(|_| too_long(template.text()))?);
            }
        }
        for user in audience.iter().take(MAX_CHANNELS + 1) {
            add(Channel::with_id("user", user).map_err(|_| Refusal::BadAttribute("audience"))?);
        }
        for channel in extra.into_iter().take(MAX_CHANNELS + 1) {
            if self.rule(&channel).is_none() {
                return Err(Refusal::UnknownChannel(channel.to_string()));
            }
            add(channel);
        }
        match channels.len() {
            0 if !event.channels.is_empty() => Err(nobody(event)),
            0..=MAX_CHANNELS => Ok(channels),
            _ => Err(Refusal::TooManyChannels),
        }
    }
}

impl EventType {
    /// Valid data with what the platform adds: the event's id where the type asks for it, the time.
    pub fn complete(
        &self,
        mut data: Value,
        id: &str,
        time: OffsetDateTime,
    ) -> Result<Value, Violation> {
        if let (Some(fields), Some(name)) = (data.as_object_mut(), &self.id_field) {
            fill(fields, name, || id.to_owned());
        }
        self.validate(&data)?;
        Ok(timestamped(data, time))
    }
}

/// Data that says when it is from; what is no object has no place for it.
pub fn timestamped(mut data: Value, time: OffsetDateTime) -> Value {
    if let Some(fields) = data.as_object_mut() {
        fill(fields, "timestamp", || rfc3339(time));
    }
    data
}

fn written(data: &Value) -> Bytes {
    let mut text = Vec::with_capacity(512);
    // Writing a value into memory cannot fail.
    let _written = serde_json::to_writer(&mut text, data);
    text.into()
}

fn fill(fields: &mut Map<String, Value>, name: &str, value: impl FnOnce() -> String) {
    if !fields.contains_key(name) {
        fields.insert(name.to_owned(), Value::String(value()));
    }
}

fn subject(event: &EventType, tenant: &Tenant, data: &Value) -> Result<Subject, Refusal> {
    let entity = event.entity.fill(data).map_err(unfilled)?;
    let entity = EntityToken::from_external(entity.as_deref().unwrap_or_default());
    let address = Address::new(tenant, &event.category, &entity);
    Ok(match event.delivery {
        Delivery::Ephemeral => address.ephemeral(&event.token),
        Delivery::Critical | Delivery::Durable => address.event(&event.token),
    })
}

fn attribute(name: &'static str, text: String) -> Result<String, Refusal> {
    let fits = (1..=MAX_ATTRIBUTE).contains(&text.len()) && !text.chars().any(char::is_control);
    if fits { Ok(text) } else { Err(Refusal::BadAttribute(name)) }
}

fn optional_attribute(name: &'static str, text: Option<String>) -> Result<Option<String>, Refusal> {
    text.map(|text| attribute(name, text)).transpose()
}

fn unfilled(unfilled: Unfilled) -> Refusal {
    let reason = "is required, as text or a number".to_owned();
    Refusal::Invalid(Violation { pointer: unfilled.pointer, reason })
}

fn too_long(template: &str) -> Refusal {
    let reason = format!("makes the channel {template} longer than a name may be");
    Refusal::Invalid(Violation { pointer: String::new(), reason })
}

fn nobody(event: &EventType) -> Refusal {
    Refusal::NoChannel(event.channel_templates().collect::<Vec<_>>().join(", "))
}

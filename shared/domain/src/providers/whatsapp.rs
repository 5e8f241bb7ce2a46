//! WhatsApp Cloud: messages and statuses, many per body, in no order.

mod content;

use std::collections::HashMap;

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::fields::{Data, json, required_text, text, unix_seconds};
use super::{Mapped, Observation, Unmappable, collect};
use crate::envelope::rfc3339;

/// Whose account it is; from the source's configuration.
#[derive(Clone, Copy, Default)]
pub struct Owner<'a> {
    /// The platform's account by the provider's phone number id; without an entry that id itself.
    pub accounts: Option<&'a HashMap<String, String>>,
    /// The user whose channel also gets everything.
    pub user: Option<&'a str>,
}

pub fn map_events(body: &[u8], owner: Owner<'_>) -> Mapped {
    let body = json(body)?;
    if body["object"] != "whatsapp_business_account" {
        return Err(Unmappable::new("object is not whatsapp_business_account"));
    }
    let changes: Vec<&Value> =
        list(&body, "entry").flat_map(|entry| list(entry, "changes")).collect();
    if changes.is_empty() {
        return Err(Unmappable::new("there are no changes"));
    }
    let mut mapped = collect(changes.into_iter().map(|change| map_change(change, owner)));
    let observations = match &mut mapped {
        Ok(observations) => observations,
        Err(unmappable) => &mut unmappable.understood,
    };
    for observation in observations {
        observation.audience.extend(owner.user.map(str::to_owned));
    }
    mapped
}

fn map_change(change: &Value, owner: Owner<'_>) -> Mapped {
    if change["field"] != "messages" {
        return Err(Unmappable::new("a change is of another field than messages"));
    }
    let value = &change["value"];
    let number = required_text(value, "/metadata/phone_number_id")?;
    let account = owner.accounts.and_then(|accounts| accounts.get(&number)).unwrap_or(&number);
    let messages = list(value, "messages").map(|message| received(value, message, account));
    let statuses = list(value, "statuses").map(|status| status_changed(status, account));
    let mut parts = messages.chain(statuses).peekable();
    if parts.peek().is_none() {
        return Err(Unmappable::new("a change has neither messages nor statuses"));
    }
    collect(parts)
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value[name].as_array().into_iter().flatten()
}

/// The key is the message's id.
fn received(value: &Value, message: &Value, account: &str) -> Mapped {
    let id = required_text(message, "/id")?;
    let from = required_text(message, "/from")?;
    let kind = required_text(message, "/type")?;
    let time = time(message)?;
    let name = list(value, "contacts")
        .find(|contact| contact["wa_id"] == from.as_str())
        .and_then(|contact| text(contact, "/profile/name"));
    let data = Data::default()
        .with("id", id.as_str())
        .with("contactId", from)
        .maybe("contactName", name)
        .with("whatsappAccountId", account)
        .with("direction", "Inbound")
        .with("type", capitalised(&kind)?)
        .maybe("content", content::text_of(&kind, message))
        .maybe("mediaUrl", content::media_of(&kind, message))
        .maybe("replyTo", content::reply_of(message))
        .with("createdAt", rfc3339(time));
    let data = json!({ "message": data.done() });
    Ok(vec![Observation::new("message.received", id, Some(time), data)])
}

/// The key is the message's id and status: the change itself, and what it is called by name.
fn status_changed(status: &Value, account: &str) -> Mapped {
    let id = required_text(status, "/id")?;
    let contact = required_text(status, "/recipient_id")?;
    let said = required_text(status, "/status")?;
    let time = time(status)?;
    let error = content::error_of(status);
    let place = || {
        Data::default()
            .with("messageId", id.as_str())
            .with("contactId", contact.as_str())
            .with("whatsappAccountId", account)
    };
    let change = place()
        .with("status", capitalised(&said)?)
        .maybe("error", error.as_ref().map(|e| e.text.clone()));
    let key = format!("{id}:{said}");
    let counted = || place().maybe("campaignId", content::campaign_of(status));
    let named = match said.as_str() {
        "delivered" => Some(("message.delivered", counted().time("deliveredAt", Some(time)))),
        "read" => Some(("message.read", counted().time("readAt", Some(time)))),
        "failed" => {
            let (text, code) = error.map_or_else(
                || ("The provider gives no reason.".to_owned(), None),
                |e| (e.text, e.code),
            );
            Some(("message.failed", counted().with("error", text).maybe("errorCode", code)))
        }
        // "sent" by name carries the message, which only its sender knows.
        _ => None,
    };
    let change = Observation::new(
        "message.status.update",
        format!("{key}:update"),
        Some(time),
        change.done(),
    );
    let named = named.map(|(event, data)| Observation::new(event, key, Some(time), data.done()));
    Ok(std::iter::once(change).chain(named).collect())
}

fn time(value: &Value) -> Result<OffsetDateTime, Unmappable> {
    let seconds = required_text(value, "/timestamp")?;
    unix_seconds(&seconds).ok_or_else(|| Unmappable::new("timestamp is not in seconds"))
}

/// The provider's word as the CRM writes it: `document` is `Document`, `order_details` `OrderDetails`.
fn capitalised(word: &str) -> Result<String, Unmappable> {
    let mut text = String::with_capacity(word.len());
    for part in word.split('_') {
        let (first, rest) = part.split_at_checked(1).unwrap_or((part, ""));
        text.push_str(&first.to_ascii_uppercase());
        text.push_str(rest);
    }
    let fits = (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphabetic());
    if fits { Ok(text) } else { Err(Unmappable::new("a type or status is no word")) }
}

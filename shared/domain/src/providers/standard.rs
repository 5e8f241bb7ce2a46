//! Any sender of Standard Webhooks: it names the event type itself, so only facts the catalogue opens get in.

use serde_json::Value;

use super::fields::{iso, json, required_text, text};
use super::{Mapped, Observation, Unmappable};

/// `id` is the header `webhook-id`, which repeats share.
pub fn map_event(body: &[u8], id: &str) -> Mapped {
    let mut body = json(body)?;
    let event_type = required_text(&body, "/type")?;
    let time = text(&body, "/timestamp").as_deref().and_then(iso);
    let data = body.get_mut("data").map(Value::take).unwrap_or_default();
    if !data.is_object() {
        return Err(Unmappable::new("data is no object"));
    }
    let key = id.to_owned();
    Ok(vec![Observation {
        event_type: event_type.into(),
        key,
        earlier_key: None,
        time,
        data,
        audience: Vec::new(),
    }])
}

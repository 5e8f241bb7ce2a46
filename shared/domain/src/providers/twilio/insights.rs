//! Voice Insights: an array of CloudEvents with measurements of calls, at least once and in no order.

use serde_json::Value;

use super::{UPDATE, quality_update};
use crate::providers::fields::{Data, iso, json, required_text, text};
use crate::providers::{Mapped, Observation, Unmappable, collect};

const TYPE_PREFIX: &str = "com.twilio.voice.insights.";

/// `quality-insights`: per measurement a `call.quality` with all of it and a short `call.update`,
/// which clients that know only calls listen to. The key is CloudEvents' source and id.
pub fn map_quality_insights(body: &[u8]) -> Mapped {
    match json(body)? {
        Value::Array(events) => collect(events.into_iter().map(measurement)),
        event @ Value::Object(_) => measurement(event),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Err(Unmappable::new("the body is no list of events"))
        }
    }
}

fn measurement(mut event: Value) -> Mapped {
    let kind = required_text(&event, "/type")?;
    let insight = kind
        .strip_prefix(TYPE_PREFIX)
        .filter(|insight| !insight.is_empty())
        .ok_or_else(|| Unmappable::new("an event is no Voice Insights event"))?;
    let key = format!("{}:{}", required_text(&event, "/source")?, required_text(&event, "/id")?);
    let time = text(&event, "/time").as_deref().and_then(iso);
    let metrics = event.get_mut("data").map(Value::take).unwrap_or_default();
    let call = ["/call_sid", "/CallSid", "/callSid"].iter().find_map(|at| text(&metrics, at));
    let call = call.ok_or_else(|| Unmappable::new("data.call_sid is missing"))?;
    let facts = || {
        Data::default()
            .with("insight", insight)
            .maybe("edge", text(&metrics, "/edge"))
            .maybe("issue", text(&metrics, "/name"))
            .maybe("level", text(&metrics, "/level"))
    };
    let update = quality_update(&call, facts().done());
    let quality = facts()
        .with("callSid", call)
        .maybe("accountSid", text(&metrics, "/account_sid"))
        .maybe("direction", text(&metrics, "/direction"));
    let update_key = format!("{key}:update");
    let quality = quality.with("metrics", metrics).done();
    Ok(vec![
        Observation::new("call.quality", key, time, quality),
        Observation::new(UPDATE, update_key, time, update),
    ])
}

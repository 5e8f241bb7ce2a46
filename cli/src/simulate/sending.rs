//! One request of a provider or a backend, before it is signed.

use serde_json::Value;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Sending {
    /// A form to a Twilio callback of this kind.
    Twilio {
        kind: &'static str,
        fields: Vec<(&'static str, String)>,
    },
    CallerDesk(Value),
    WhatsApp(Value),
    /// A backend's own event, by its token.
    Event(Value),
}

impl Sending {
    /// What it is, for the progress line.
    pub(crate) fn about(&self) -> String {
        match self {
            Self::Twilio { kind, fields } => {
                let status = ["CallStatus", "RecordingStatus", "AnsweredBy"];
                let what = fields.iter().find(|(name, _)| status.contains(name));
                format!("twilio {kind} {}", what.map_or("", |(_, value)| value))
            }
            Self::CallerDesk(value) => format!("callerdesk {}", text(value, "type")),
            Self::WhatsApp(value) => {
                let inner = "/entry/0/changes/0/value/statuses/0/status";
                let status = value.pointer(inner).and_then(Value::as_str);
                format!("whatsapp {}", status.unwrap_or("message"))
            }
            Self::Event(value) => text(value, "type").to_owned(),
        }
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

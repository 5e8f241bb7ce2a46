//! What a message says, by its kind.

use serde_json::Value;

use crate::providers::fields::text;

/// As the catalogue has it.
const MAX_ID: usize = 160;

pub(super) struct Failure {
    pub(super) text: String,
    pub(super) code: Option<i64>,
}

/// The words of a message, where its kind has any.
pub(super) fn text_of(kind: &str, message: &Value) -> Option<String> {
    let of = |pointer: &str| text(message, pointer);
    match kind {
        "text" => of("/text/body"),
        "reaction" => of("/reaction/emoji"),
        "button" => of("/button/text"),
        "interactive" => {
            of("/interactive/button_reply/title").or_else(|| of("/interactive/list_reply/title"))
        }
        "system" => of("/system/body"),
        "location" => location(&message["location"]),
        "contacts" => of("/contacts/0/name/formatted_name"),
        "order" => of("/order/text"),
        "unsupported" => error_of(message).map(|failure| failure.text),
        _ => message[kind]["caption"].as_str().map(str::to_owned),
    }
}

fn location(place: &Value) -> Option<String> {
    let position = format!("{},{}", text(place, "/latitude")?, text(place, "/longitude")?);
    let named = text(place, "/name").or_else(|| text(place, "/address"));
    Some(named.map_or_else(|| position.clone(), |name| format!("{name} ({position})")))
}

/// Where the sound or picture is: the provider's id, until somebody publishes a URL.
pub(super) fn media_of(kind: &str, message: &Value) -> Option<String> {
    match kind {
        "image" | "audio" | "video" | "document" | "sticker" => {
            message[kind]["id"].as_str().filter(|id| !id.is_empty()).map(|id| format!("media:{id}"))
        }
        _ => None,
    }
}

/// The message that this one answers or reacts to.
pub(super) fn reply_of(message: &Value) -> Option<String> {
    text(message, "/reaction/message_id").or_else(|| text(message, "/context/id"))
}

/// The campaign that a message belongs to, where its sender gave the provider `campaign:{id}` to say again.
pub(super) fn campaign_of(status: &Value) -> Option<String> {
    let given = text(status, "/biz_opaque_callback_data")?;
    let id = given.strip_prefix("campaign:")?;
    (1..=MAX_ID).contains(&id.chars().count()).then(|| id.to_owned())
}

pub(super) fn error_of(value: &Value) -> Option<Failure> {
    let error = value["errors"].as_array()?.first()?;
    let said =
        ["/error_data/details", "/message", "/title"].iter().find_map(|at| text(error, at))?;
    Some(Failure { text: said, code: error["code"].as_i64() })
}

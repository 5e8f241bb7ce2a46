//! The AI service of application 001: one call for a message, one for a piece of speech, both answered as a whole.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::endpoint::Endpoint;
use super::tidy::{TEXTS, says_something, tidied};
use super::{
    Answer, Crisis, Failure, Heard, MAX_ANSWER, Pieces, Promise, Provider, Question, Reason, Sound,
    Speech, estimate,
};

/// The event that carries the object has to fit a message.
const MAX_OBJECT: usize = 512 * 1024;

pub struct Ezri {
    endpoint: Endpoint,
}

impl Ezri {
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint }
    }

    async fn converse(&self, question: &Question) -> Result<Answer, Failure> {
        let body = json!({
            "userId": question.user,
            "conversationId": question.conversation,
            "message": question.text,
        });
        let ids = [
            ("x-request-id", &*question.request_id),
            ("idempotency-key", &*question.idempotency_key),
        ];
        let path = "/api/v1/conversation";
        let body = body.to_string().into();
        let request = self.endpoint.post(path, "application/json", &ids, body)?;
        let answer = self.endpoint.whole(request).await?;
        let object: Map<String, Value> =
            serde_json::from_slice(answer.body()).map_err(|_| Reason::Malformed)?;
        let mut object = tidied(object);
        if answer.body().len() > MAX_OBJECT {
            return Err(Failure::from(Reason::TooLarge).with_crisis_of(object));
        }
        if !says_something(&object) {
            // A crisis that comes without a word is still a crisis.
            if !Crisis::reported_by(&object) {
                return Err(Reason::Empty.into());
            }
            object.insert("response".to_owned(), json!(question.crisis_text));
        }
        let text = TEXTS.iter().find_map(|name| object.get(*name)?.as_str());
        let text = text.unwrap_or_default().to_owned();
        if text.len() > MAX_ANSWER {
            return Err(Failure::from(Reason::TooLarge).with_crisis_of(object));
        }
        let usage = estimate(question, &text);
        Ok(Answer { object, text, model: None, usage })
    }

    async fn process(&self, speech: &Speech) -> Result<Heard, Failure> {
        let ids = [("x-request-id", &*speech.request_id), ("idempotency-key", &*speech.chunk)];
        let (path, kind) = ("/api/v1/voice/process", "application/octet-stream");
        let request = self.endpoint.post(path, kind, &ids, speech.sound.clone())?;
        let answer = self.endpoint.sound(request).await?;
        let told: Value = serde_json::from_slice(answer.body()).map_err(|_| Reason::Malformed)?;
        let text = told["transcription"].as_str().ok_or(Reason::Malformed)?.to_owned();
        Ok(Heard { text, reply: sound(&told["audioResponse"])? })
    }
}

impl Provider for Ezri {
    fn name(&self) -> &'static str {
        "ezri"
    }

    fn answer<'a>(&'a self, question: &'a Question, _: &'a Pieces) -> Promise<'a, Answer> {
        Box::pin(self.converse(question))
    }

    fn hear<'a>(&'a self, speech: &'a Speech) -> Promise<'a, Heard> {
        Box::pin(self.process(speech))
    }

    fn speak<'a>(&'a self, _: &'a str) -> Promise<'a, Option<Sound>> {
        Box::pin(async { Ok(None) })
    }
}

/// A base64 text (as a data URL too) or an array of bytes; the service's document leaves it open.
fn sound(value: &Value) -> Result<Option<Sound>, Failure> {
    let (content_type, data) = match value {
        Value::Null => return Ok(None),
        Value::String(text) if text.is_empty() => return Ok(None),
        Value::String(text) => {
            let (head, encoded) = text.split_once(";base64,").unwrap_or(("", text));
            let data = STANDARD.decode(encoded.trim()).map_err(|_| Reason::Malformed)?;
            (head.strip_prefix("data:"), data)
        }
        Value::Array(items) => {
            let byte = |item: &Value| item.as_u64().and_then(|byte| u8::try_from(byte).ok());
            let data: Option<Vec<u8>> = items.iter().map(byte).collect();
            (None, data.ok_or(Reason::Malformed)?)
        }
        // Node's Buffer as JSON.
        Value::Object(fields) if fields.contains_key("data") => return sound(&fields["data"]),
        Value::Object(_) | Value::Bool(_) | Value::Number(_) => {
            return Err(Reason::Malformed.into());
        }
    };
    let content_type = content_type.filter(|it| !it.is_empty()).unwrap_or("audio/mpeg").to_owned();
    Ok(Some(Sound { content_type, data: data.into() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_comes_as_base64_or_as_bytes() {
        let data = |value: Value| sound(&value).map(|sound| sound.map(|it| it.data.to_vec()));
        for value in [
            json!("AAEC"),
            json!("data:audio/wav;base64,AAEC"),
            json!([0, 1, 2]),
            json!({ "type": "Buffer", "data": [0, 1, 2] }),
        ] {
            assert_eq!(data(value), Ok(Some(vec![0, 1, 2])));
        }
        assert_eq!(data(Value::Null), Ok(None));
        assert_eq!(data(json!([256])), Err(Reason::Malformed.into()));
    }
}

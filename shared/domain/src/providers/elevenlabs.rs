//! ElevenLabs post-call webhooks. Their fields grow over time; unknown ones are passed over.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::fields::{Data, json, number, required_text, text, unix_seconds};
use super::{Mapped, Observation, Unmappable};
use crate::owned_id::belongs_to;
use crate::token::Tenant;

const PROVIDER: &str = "elevenlabs";
/// Turns of one call that join a conversation; the call's own transcript has all.
const MOST_TURNS: usize = 1_000;

/// Where the caller has put the sound of a `post_call_audio`, which is too large for an event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredAudio {
    pub bucket: String,
    pub key: String,
    pub size: u64,
    pub content_type: String,
}

/// `body` without the audio itself, which the caller has stored as `audio`.
pub fn map_post_call(body: &[u8], audio: Option<&StoredAudio>, tenant: &Tenant) -> Mapped {
    let body = json(body)?;
    let kind = required_text(&body, "/type")?;
    let conversation = required_text(&body, "/data/conversation_id")?;
    let at = required_text(&body, "/event_timestamp")?;
    let post_call = PostCall {
        // Repeats share all three.
        key: format!("{kind}:{conversation}:{at}"),
        time: unix_seconds(&at),
        conversation,
        data: &body["data"],
    };
    match (kind.as_str(), audio) {
        ("post_call_transcription", _) => Ok(post_call.transcription(tenant)),
        ("post_call_audio", Some(audio)) => Ok(post_call.audio(audio)),
        ("post_call_audio", None) => Err(Unmappable::new("the audio has not been stored")),
        ("call_initiation_failure", _) => Ok(post_call.initiation_failure()),
        _ => Err(Unmappable::new("type has an unknown value")),
    }
}

struct PostCall<'a> {
    key: String,
    time: Option<OffsetDateTime>,
    conversation: String,
    data: &'a Value,
}

impl PostCall<'_> {
    fn transcription(self, tenant: &Tenant) -> Vec<Observation> {
        let mut said = self.said(tenant);
        let of = |pointer: &str| text(self.data, pointer);
        let data = self
            .base()
            .with("transcript", transcript(&self.data["transcript"]))
            .maybe("userId", of("/user_id"))
            .maybe("status", of("/status"))
            .maybe("successful", of("/analysis/call_successful"))
            .maybe("summary", of("/analysis/transcript_summary"))
            .maybe("duration", number(self.data, "/metadata/call_duration_secs"))
            .maybe("cost", self.data["metadata"]["cost"].as_f64());
        let mut all = self.observation("call.transcription", data);
        all.append(&mut said);
        all
    }

    /// What the user said, for the conversation of the platform that the call was begun for, if it names one and that
    /// is the user's: the application tells ElevenLabs both, so an id of somebody else's counts for nothing.
    fn said(&self, tenant: &Tenant) -> Vec<Observation> {
        let variables = "/conversation_initiation_client_data/dynamic_variables";
        let of = |name: &str| text(self.data, &format!("{variables}/{name}"));
        let user = text(self.data, "/user_id").or_else(|| of("userId")).or_else(|| of("user_id"));
        let conversation = of("conversationId").or_else(|| of("conversation_id"));
        let (Some(user), Some(conversation)) = (user, conversation) else { return Vec::new() };
        if !belongs_to(&conversation, tenant, &user) {
            return Vec::new();
        }
        let turns = self.data["transcript"].as_array().into_iter().flatten().enumerate();
        let said = turns.filter(|(_, turn)| turn["role"] == "user").filter_map(|(at, turn)| {
            let data = Data::default()
                .with("conversationId", conversation.as_str())
                .with("userId", user.as_str())
                .with("text", text(turn, "/message")?);
            let key = format!("{}:{at}", self.key);
            Some(Observation::new("voice.transcription", key, self.time, data.done()))
        });
        said.take(MOST_TURNS).collect()
    }

    fn audio(self, audio: &StoredAudio) -> Vec<Observation> {
        let media = json!({
            "bucket": audio.bucket, "key": audio.key, "size": audio.size, "contentType": audio.content_type,
        });
        let recording = json!({ "status": "completed", "source": PROVIDER, "media": media });
        let data = self.base().with("recording", recording);
        self.observation("call.update", data)
    }

    fn initiation_failure(self) -> Vec<Observation> {
        let reason = text(self.data, "/failure_reason");
        let status = match reason.as_deref() {
            Some("busy") => "busy",
            Some("no-answer") => "no-answer",
            _ => "failed",
        };
        let of = |pointer: &str| text(self.data, pointer);
        let data = self
            .base()
            .with("status", status)
            .maybe("failureReason", reason)
            .maybe("direction", of("/metadata/body/Direction"))
            .maybe("from", of("/metadata/body/From").or_else(|| of("/metadata/body/from_number")))
            .maybe("to", of("/metadata/body/To").or_else(|| of("/metadata/body/to_number")))
            .maybe("sipCode", number(self.data, "/metadata/body/sip_status_code"));
        self.observation("call.update", data)
    }

    /// The call by the telephone provider's id where there is one, else by the conversation's.
    fn base(&self) -> Data {
        let places = [
            "/metadata/phone_call/call_sid",
            "/metadata/body/CallSid",
            "/metadata/body/call_sid",
            "/conversation_initiation_client_data/dynamic_variables/system__call_sid",
        ];
        let call = places.iter().find_map(|at| text(self.data, at));
        Data::default()
            .with("callSid", call.unwrap_or_else(|| self.conversation.clone()))
            .with("conversationId", self.conversation.as_str())
            .with("provider", PROVIDER)
            .maybe("agentId", text(self.data, "/agent_id"))
    }

    fn observation(self, event: &'static str, data: Data) -> Vec<Observation> {
        vec![Observation::new(event, self.key, self.time, data.done())]
    }
}

/// What was said; turns without words (a tool's call) are left out.
fn transcript(turns: &Value) -> Value {
    let turns = turns.as_array().into_iter().flatten().filter_map(|turn| {
        let data = Data::default()
            .with("role", text(turn, "/role")?)
            .with("text", text(turn, "/message")?)
            .maybe("atSeconds", turn["time_in_call_secs"].as_f64());
        Some(data.done())
    });
    turns.collect()
}

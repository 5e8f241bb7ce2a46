//! Any server that speaks OpenAI's chat completions, streamed, with its speech endpoints.

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::Response;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::time::Instant;

use self::completion::{CRISIS_TOOL, Completion, DONE, Step};
use self::sse::{Broken, Sse};
use super::endpoint::{Endpoint, next};
use super::{
    Answer, Failure, Heard, Pieces, Promise, Provider, Question, Reason, Sound, Speaker, Speech,
    estimate,
};

mod completion;
mod sse;

/// A stream that is longer holds more than an answer.
const MAX_STREAM: usize = 8 * 1024 * 1024;
const JSON: &str = "application/json";
const BOUNDARY: &str = "throughline-7f93c1d2a4b8";

/// What to ask a server for.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Models {
    pub chat: Option<String>,
    pub transcription: Option<String>,
    pub speech: Option<String>,
    pub voice: Option<String>,
    /// Offers the model a tool by which it reports a crisis.
    pub crisis_tool: bool,
}

pub struct OpenAi {
    endpoint: Endpoint,
    models: Models,
}

impl OpenAi {
    pub fn new(endpoint: Endpoint, models: Models) -> Self {
        Self { endpoint, models }
    }

    /// Bases are written with and without the version.
    fn path(&self, rest: &str) -> String {
        if self.endpoint.ends_with("/v1") { rest.to_owned() } else { format!("/v1{rest}") }
    }

    fn body(&self, question: &Question) -> Value {
        let mut messages = vec![json!({ "role": "system", "content": question.system })];
        messages.extend(question.history.iter().map(|turn| {
            let role = if turn.speaker == Speaker::User { "user" } else { "assistant" };
            json!({ "role": role, "content": turn.text })
        }));
        messages.push(json!({ "role": "user", "content": question.text }));
        let mut body = json!({
            "model": self.models.chat.as_deref().unwrap_or("default"),
            "messages": messages,
            "stream": true,
            "stream_options": { "include_usage": true },
        });
        if self.models.crisis_tool {
            body["tools"] = json!([crisis_tool()]);
        }
        body
    }

    async fn stream(&self, question: &Question, pieces: &Pieces) -> Result<Answer, Failure> {
        let begun = Instant::now();
        let body = self.body(question).to_string().into();
        let ids = [("x-request-id", &*question.request_id)];
        let request = self.endpoint.post(&self.path("/chat/completions"), JSON, &ids, body)?;
        let response = self.endpoint.open(request).await?;
        let mut completion = Completion::default();
        let mut reading = Reading::new(&self.endpoint, begun);
        let read = if is_json(&response) {
            reading.whole(response.into_body(), &mut completion).await
        } else {
            reading.events(response.into_body(), &mut completion, pieces).await
        };
        // However it broke off, a crisis that it has told by then is told.
        read.map_err(|failure| failure.with_crisis_of(completion.report()))?;
        let object = completion.object(&question.crisis_text)?;
        let usage = completion.usage.unwrap_or_else(|| estimate(question, &completion.text));
        Ok(Answer { object, text: completion.text, model: completion.model, usage })
    }

    async fn transcribe(&self, speech: &Speech) -> Result<Heard, Failure> {
        let model = self.models.transcription.as_deref().ok_or(Reason::Unsupported)?;
        let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
        let ids = [("x-request-id", &*speech.request_id)];
        let path = self.path("/audio/transcriptions");
        let request = self.endpoint.post(&path, &content_type, &ids, form(model, &speech.sound))?;
        let answer = self.endpoint.whole(request).await?;
        let told: Value = serde_json::from_slice(answer.body()).map_err(|_| Reason::Malformed)?;
        let text = told["text"].as_str().ok_or(Reason::Malformed)?.to_owned();
        Ok(Heard { text, reply: None })
    }

    async fn say(&self, text: &str) -> Result<Option<Sound>, Failure> {
        let Some(model) = &self.models.speech else { return Ok(None) };
        let voice = self.models.voice.as_deref().unwrap_or("alloy");
        let body =
            json!({ "model": model, "voice": voice, "input": text, "response_format": "mp3" });
        let path = self.path("/audio/speech");
        let request_id = runtime::ids::ordered();
        let ids = [("x-request-id", &*request_id)];
        let request = self.endpoint.post(&path, JSON, &ids, body.to_string().into())?;
        let answer = self.endpoint.sound(request).await?;
        let content_type = content_type(&answer).unwrap_or("audio/mpeg").to_owned();
        Ok(Some(Sound { content_type, data: answer.into_body() }))
    }
}

impl Provider for OpenAi {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn answer<'a>(&'a self, question: &'a Question, pieces: &'a Pieces) -> Promise<'a, Answer> {
        Box::pin(self.stream(question, pieces))
    }

    fn hear<'a>(&'a self, speech: &'a Speech) -> Promise<'a, Heard> {
        Box::pin(self.transcribe(speech))
    }

    fn speak<'a>(&'a self, text: &'a str) -> Promise<'a, Option<Sound>> {
        Box::pin(self.say(text))
    }
}

/// One answer being read, with its clocks.
struct Reading {
    first: Instant,
    total: Instant,
    idle: std::time::Duration,
    received: usize,
}

impl Reading {
    fn new(endpoint: &Endpoint, begun: Instant) -> Self {
        let deadlines = endpoint.deadlines;
        let (first, total) = (begun + deadlines.first, begun + deadlines.total);
        Self { first, total, idle: deadlines.idle, received: 0 }
    }

    async fn events(
        &mut self,
        mut body: Incoming,
        completion: &mut Completion,
        pieces: &Pieces,
    ) -> Result<(), Failure> {
        let (mut sse, mut paused_since) = (Sse::default(), None);
        while let Some(bytes) = self.next(&mut body, paused_since).await? {
            sse.push(&bytes).map_err(|broken| match broken {
                Broken::TooLong => Reason::TooLarge,
                Broken::NotText => Reason::Malformed,
            })?;
            while let Some(data) = sse.next() {
                let step = completion.take(&data)?;
                if let Step::Piece(piece) = &step {
                    // Nobody listening means that the attempt is over; its future is dropped soon.
                    let _ = pieces.send(piece.clone()).await;
                }
                if step == Step::Done {
                    // The end of the body is usually there already, and then the connection can be used again.
                    let _ = body.frame().now_or_never();
                    return Ok(());
                }
                // Before the first word only the first deadline counts, whatever else comes.
                if !completion.text.is_empty() {
                    paused_since = Some(Instant::now());
                }
            }
        }
        // Some servers leave out the empty line behind the end mark.
        if sse.end().is_some_and(|data| data.trim() == DONE) {
            return Ok(());
        }
        Err(Reason::Truncated.into())
    }

    /// The answer of a server that does not stream.
    async fn whole(
        &mut self,
        mut body: Incoming,
        completion: &mut Completion,
    ) -> Result<(), Failure> {
        let mut all = Vec::new();
        while let Some(bytes) = self.next(&mut body, None).await? {
            all.extend_from_slice(&bytes);
        }
        let text = std::str::from_utf8(&all).map_err(|_| Reason::Malformed)?;
        completion.take(text)?;
        Ok(())
    }

    async fn next(
        &mut self,
        body: &mut Incoming,
        paused_since: Option<Instant>,
    ) -> Result<Option<Bytes>, Failure> {
        let (deadline, late) = match paused_since {
            None => (self.first, Reason::Timeout),
            Some(since) => (since + self.idle, Reason::Stalled),
        };
        let (deadline, late) =
            if deadline > self.total { (self.total, Reason::Overlong) } else { (deadline, late) };
        let bytes = next(body, deadline, late).await?;
        self.received += bytes.as_ref().map_or(0, Bytes::len);
        // A body that never pauses would never meet the clock of a pending read.
        if Instant::now() >= self.total {
            return Err(Reason::Overlong.into());
        }
        if self.received > MAX_STREAM { Err(Reason::TooLarge.into()) } else { Ok(bytes) }
    }
}

fn content_type<B>(response: &Response<B>) -> Option<&str> {
    response.headers().get(CONTENT_TYPE)?.to_str().ok()
}

fn is_json<B>(response: &Response<B>) -> bool {
    content_type(response).is_some_and(|it| it.trim_start().starts_with(JSON))
}

fn crisis_tool() -> Value {
    json!({ "type": "function", "function": {
        "name": CRISIS_TOOL,
        "description": "Report that the person may be in danger. Answer the person as well.",
        "parameters": { "type": "object", "required": ["severity", "signals"], "properties": {
            "severity": { "type": "string", "enum": ["imminent", "high", "moderate", "low"] },
            "signals": { "type": "array", "items": { "type": "string" } },
        } },
    } })
}

/// A file and a model as a browser's form would send them.
fn form(model: &str, sound: &[u8]) -> Bytes {
    let name = format!("speech.{}", extension(sound));
    let head = format!(
        "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n\
         --{BOUNDARY}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
         content-type: application/octet-stream\r\n\r\n"
    );
    let tail = format!("\r\n--{BOUNDARY}--\r\n");
    [head.as_bytes(), sound, tail.as_bytes()].concat().into()
}

/// Servers tell the format by the file's name; browsers record WebM or MP4.
fn extension(sound: &[u8]) -> &'static str {
    match sound {
        [b'R', b'I', b'F', b'F', ..] => "wav",
        [b'O', b'g', b'g', b'S', ..] => "ogg",
        [b'I', b'D', b'3', ..] | [0xff, 0xfb | 0xf3 | 0xf2, ..] => "mp3",
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => "mp4",
        _ => "webm",
    }
}

//! One attempt to answer a message under a claim: ask, stream, and store what came of it in the order that counts,
//! help and alert before anything that may fail, and all of it before the answer.

use std::time::Duration;

use runtime::telemetry::chain;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::claim::Claim;
use super::crisis;
use super::delta::{Deltas, pace};
use super::keys::Keys;
use super::record::{RecordError, Recorder};
use crate::metrics::Metrics;
use crate::prompts::Prompt;
use crate::providers::{Answer, Crisis, Failure, Question, Reason, Usage, estimate};
use crate::settings::Price;
use crate::tenants::Turn;
use crate::voice::{Speaker, is_spoken};

/// Pieces that wait to be sent; a full queue holds the provider back.
const PIECES: usize = 64;

/// What an attempt needs besides its claim.
pub(crate) struct Tools<'a> {
    pub recorder: &'a Recorder,
    pub metrics: &'a Metrics,
    pub question: &'a Question,
    /// That opened it.
    pub keys: &'a Keys,
    pub prompt: &'a Prompt,
    pub price: Option<&'a Price>,
    pub speaker: &'a Speaker,
    /// Cancelled when the service stops and cannot wait any longer.
    pub abandon: &'a CancellationToken,
}

pub(crate) enum Ended {
    Answered,
    /// The AI service failed.
    Failed(Failure),
    /// Another instance has taken over, or this one stops.
    Lost,
    /// The log is away; nothing is known to be stored.
    Unavailable,
}

impl From<RecordError> for Ended {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Conflict => Self::Lost,
            RecordError::Unfit => Self::Failed(Reason::Malformed.into()),
            RecordError::Unavailable => Self::Unavailable,
        }
    }
}

pub(crate) async fn run(claim: &mut Claim<'_>, mut turn: Turn, tools: &Tools<'_>) -> Ended {
    let begun = Instant::now();
    let mut watch = Watch { begun, first: None, said: String::new() };
    state(claim, tools, "thinking").await;
    let asked = ask(claim, &turn, tools, &mut watch).await;
    let answer = match asked {
        Ok(Ok(answer)) => {
            turn.succeeded();
            answer
        }
        Ok(Err(failure)) => {
            turn.failed(&failure);
            let told = tell_failure(claim, tools, &watch, &failure).await;
            return told.map_or_else(Ended::from, |()| Ended::Failed(failure));
        }
        Err(ended) => return ended,
    };
    tools.metrics.first_token_seconds.observe(watch.first().as_secs_f64());
    let text = answer.text.clone();
    match store(claim, tools, &watch, answer).await {
        Ok(Stored::Answer) => {
            if is_spoken(&claim.attempt.message.id) {
                let (question, keys) = (tools.question, tools.keys);
                tools.speaker.say(claim.tenant(), question, keys, &turn, &text).await;
            }
            state(claim, tools, "idle").await;
            Ended::Answered
        }
        Ok(Stored::Erased) => Ended::Failed(Reason::Erased.into()),
        Err(error) => error.into(),
    }
}

/// What there is to store of an answer.
enum Stored {
    Answer,
    Erased,
}

struct Watch {
    begun: Instant,
    first: Option<Instant>,
    /// What came before it failed.
    said: String,
}

/// What the service reported before it failed, and what it took.
async fn tell_failure(
    claim: &mut Claim<'_>,
    tools: &Tools<'_>,
    watch: &Watch,
    failure: &Failure,
) -> Result<(), RecordError> {
    if let Some(crisis) = &failure.crisis {
        crisis::raise(claim, tools, &crisis.0).await?;
    }
    let usage = usage_of_failure(failure.reason, tools.question, &watch.said);
    let spent = watch.usage(claim, tools, None, &usage, failure.reason.name());
    claim.append("ai.usage", "usage", spent).await
}

/// A question that was taken costs what it costs, whatever became of its answer: budgets are to hold.
fn usage_of_failure(reason: Reason, question: &Question, said: &str) -> Usage {
    if reason.is_unasked() { Usage::default() } else { estimate(question, said) }
}

/// The answer or the service's failure, while pieces go out and the claim is kept.
async fn ask(
    claim: &mut Claim<'_>,
    turn: &Turn,
    tools: &Tools<'_>,
    watch: &mut Watch,
) -> Result<Result<Answer, Failure>, Ended> {
    let (pieces, mut heard) = mpsc::channel::<String>(PIECES);
    let mut answer = turn.provider().answer(tools.question, &pieces);
    let (conversation, message) = (claim.attempt.conversation, &claim.attempt.message.id);
    let mut deltas = Deltas::new(conversation, message, claim.attempt.number, Instant::now());
    let result = loop {
        let due = deltas.due();
        tokio::select! {
            biased;
            () = tools.keys.destroyed() => break Err(Reason::Erased.into()),
            Some(piece) = heard.recv() => {
                deltas.push(&piece);
                if watch.first.is_none() {
                    watch.first = Some(Instant::now());
                    send(claim, tools, &mut deltas).await;
                    state(claim, tools, "speaking").await;
                }
            }
            () = until(due) => send(claim, tools, &mut deltas).await,
            () = sleep_until(claim.extend_at()) => match claim.extend().await {
                // The log may be back before the answer is.
                Ok(()) | Err(RecordError::Unavailable) => {}
                Err(error) => return Err(error.into()),
            },
            () = tools.abandon.cancelled() => {
                if let Err(error) = claim.release().await {
                    debug!(error = %chain(&error), "a claim was not given back; it runs out");
                }
                return Err(Ended::Lost);
            }
            result = &mut answer => break result,
        }
    };
    drop(answer);
    while let Ok(piece) = heard.try_recv() {
        deltas.push(&piece);
    }
    if deltas.is_begun() && result.is_ok() {
        watch.first.get_or_insert_with(Instant::now);
        deltas.hurry(Instant::now());
        send(claim, tools, &mut deltas).await;
    }
    if result.is_err() {
        watch.said = deltas.into_text();
    }
    Ok(result)
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Not once somebody else has taken over: a client must not see two instances write one answer. Nor once what was asked
/// has been erased.
async fn send(claim: &Claim<'_>, tools: &Tools<'_>, deltas: &mut Deltas) {
    let pace = pace(tools.metrics.writing.get());
    if let Some(data) = deltas.take(Instant::now(), pace)
        && claim.is_held()
        && tools.keys.stand()
    {
        tools.metrics.deltas.inc();
        // Who comes in the middle has missed the state as well as the beginning.
        let is_whole = data["offset"] == 0 && data["index"] != 0;
        tools.recorder.live(claim.tenant(), "ai.delta", data).await;
        if is_whole {
            state(claim, tools, "speaking").await;
        }
    }
}

async fn state(claim: &Claim<'_>, tools: &Tools<'_>, state: &'static str) {
    tools.recorder.state(claim.tenant(), claim.attempt.conversation, state).await;
}

/// Help and alert, which need no claim and which no other attempt may be told of; then usage, and last the answer:
/// whoever sees the answer finds the rest stored. To what has been erased there is none.
async fn store(
    claim: &mut Claim<'_>,
    tools: &Tools<'_>,
    watch: &Watch,
    answer: Answer,
) -> Result<Stored, RecordError> {
    if Crisis::reported_by(&answer.object) {
        crisis::raise(claim, tools, &answer.object).await?;
    }
    let model = answer.model.as_deref();
    let outcome = if tools.keys.stand() { "answered" } else { Reason::Erased.name() };
    let spent = watch.usage(claim, tools, model, &answer.usage, outcome);
    claim.append("ai.usage", "usage", spent).await?;
    if !tools.keys.stand() {
        return Ok(Stored::Erased);
    }
    // Answers to one message pass for one, whoever gives them.
    let (conversation, message) = (claim.attempt.conversation, &claim.attempt.message.id);
    let key = format!("answer:{conversation}:{message}");
    let (text, crisis) = (answer.text, answer.object.get("crisis_detected").cloned());
    let data = response(claim, tools, answer.object);
    match claim.append_as("ai.response", key.clone(), data).await {
        // A field of the service's own that no event can hold must not cost the answer.
        Err(RecordError::Unfit) => {
            warn!("an answer is stored without its service's own fields");
            let mut bare = Map::new();
            bare.insert("response".to_owned(), json!(text));
            bare.insert("crisis_detected".to_owned(), crisis.unwrap_or(json!(false)));
            claim.append_as("ai.response", key, response(claim, tools, bare)).await
        }
        other => other,
    }?;
    Ok(Stored::Answer)
}

/// The service's object with what tells which message it answers, under the key that opened the question: one that is
/// destroyed just now takes the answer along.
fn response(claim: &Claim<'_>, tools: &Tools<'_>, mut object: Map<String, Value>) -> Value {
    if !tools.question.user.is_empty() {
        object.insert("userId".to_owned(), json!(tools.question.user));
    }
    let data = claim.data(Value::Object(object));
    tools.recorder.sealed_with(tools.keys, claim.tenant(), "ai.response", data)
}

impl Watch {
    fn first(&self) -> Duration {
        self.first.unwrap_or_else(Instant::now) - self.begun
    }

    fn usage(
        &self,
        claim: &Claim<'_>,
        tools: &Tools<'_>,
        model: Option<&str>,
        usage: &Usage,
        outcome: &'static str,
    ) -> Value {
        let mut data = json!({
            "provider": claim.attempt.provider,
            "promptTokens": usage.prompt,
            "completionTokens": usage.completion,
            "estimated": usage.estimated,
            "durationMs": millis(self.begun.elapsed()),
            "outcome": outcome,
        });
        if let Some(fields) = data.as_object_mut() {
            let first = self.first.map(|first| json!(millis(first - self.begun)));
            fields.extend(first.map(|first| ("firstTokenMs".to_owned(), first)));
            let model = model.filter(|it| (1..=256).contains(&it.len()));
            fields.extend(model.map(|model| ("model".to_owned(), json!(model))));
            if !tools.question.user.is_empty() {
                fields.insert("userId".to_owned(), json!(tools.question.user));
            }
            if let Some(price) = tools.price {
                fields.insert("cost".to_owned(), json!(price.of(usage)));
                fields.insert("currency".to_owned(), json!(price.currency));
            }
        }
        claim.data(data)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

//! Answers where events stand: `refs` and `at`. Everything is in memory, so an answer never waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use domain::replay::{AtAnswer, AtRequest, RefsAnswer, RefsRequest, question, refusal};
use domain::subject;
use runtime::nats::Nats;
use runtime::requests::{Request, Server};
use runtime::tasks::BoxError;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::answer::{self, Refusal};
use crate::index::MAX_CHANNELS;
use crate::state::State;

pub(crate) const QUEUE: &str = "replay";

/// How long to wait for questions that were under way when we stopped listening.
const LAST_QUESTIONS: Duration = Duration::from_millis(200);

/// Answers one kind of question until told to stop. Several of these share the queue group, one per core.
pub(crate) async fn serve(
    nats: Nats,
    question: &'static str,
    state: Arc<State>,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    let mut server = nats.serve(&subject::replay_requests(question), QUEUE).await?;
    while let Some(request) = tokio::select! {
        biased;
        () = shutdown.cancelled() => None,
        request = server.next() => request,
    } {
        respond(request, question, &state).await;
    }
    server.stop().await;
    while let Some(request) = last(&mut server).await {
        respond(request, question, &state).await;
    }
    Ok(())
}

pub(crate) async fn last(server: &mut Server) -> Option<Request> {
    tokio::time::timeout(LAST_QUESTIONS, server.next()).await.ok().flatten()
}

async fn respond(request: Request, question: &'static str, state: &State) {
    let begun = Instant::now();
    state.meters.asked(question);
    let answer = answer(question, &request.subject, &request.payload, state);
    state.meters.latency.observe(begun.elapsed().as_secs_f64());
    if let Err(error) = request.respond(answer).await {
        debug!(%error, question, "an answer could not be sent");
    }
}

fn answer(question: &'static str, asked: &str, payload: &[u8], state: &State) -> Bytes {
    match question {
        question::AT => answer::write(noted(at(asked, payload, state), state)),
        _ => answer::write(noted(refs(asked, payload, state), state)),
    }
}

fn noted<T>(result: Result<T, Refusal>, state: &State) -> Result<T, Refusal> {
    result.inspect_err(|refusal| state.meters.refused(refusal))
}

fn refs(asked: &str, payload: &[u8], state: &State) -> Result<RefsAnswer, Refusal> {
    let (tenant, request) = answer::read::<RefsRequest>(asked, payload)?;
    if request.channels.len() > MAX_CHANNELS {
        let message = format!("at most {MAX_CHANNELS} channels in one question");
        return Err(Refusal::new(refusal::TOO_MANY_CHANNELS, message));
    }
    ready(state)?;
    Ok(state.index().refs(&tenant, &request))
}

fn at(asked: &str, payload: &[u8], state: &State) -> Result<AtAnswer, Refusal> {
    let (_, request) = answer::read::<AtRequest>(asked, payload)?;
    ready(state)?;
    Ok(state.index().position_at(request.at))
}

fn ready(state: &State) -> Result<(), Refusal> {
    if state.is_ready() { Ok(()) } else { Err(Refusal::not_ready()) }
}

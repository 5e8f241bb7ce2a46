//! What could not be understood: list, show, and give to the write side once more.
//! The stream is the truth; here is only an index of it by tenant and origin, rebuilt at every start.

use std::sync::Arc;

use domain::replay::quarantine::{ItemRequest, ListAnswer, ListRequest, RedriveAnswer, ShowAnswer};
use domain::replay::question;
use domain::subject;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use runtime::nats::Nats;
use runtime::requests::Request;
use runtime::tasks::BoxError;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::answer::{self, Refusal};
use crate::pages::{QUEUE, last};
use crate::state::State;

pub(crate) mod following;
mod item;
mod redrive;
pub(crate) mod shelf;

use shelf::Shelf;

/// Operators' questions read from the log; more than this many wait in the subscription.
const AT_ONCE: usize = 8;

/// Answers one kind of operator's question until told to stop.
pub(crate) async fn serve(
    nats: Nats,
    question: &'static str,
    state: Arc<State>,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    let mut server = nats.serve(&subject::replay_requests(question), QUEUE).await?;
    let shelf = Shelf::new(&nats, state);
    let mut open = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(()) = open.next() => {}
            request = server.next(), if open.len() < AT_ONCE => match request {
                Some(request) => open.push(respond(&shelf, question, request)),
                None => break,
            }
        }
    }
    server.stop().await;
    while let Some(request) = last(&mut server).await {
        open.push(respond(&shelf, question, request));
    }
    while open.next().await.is_some() {}
    Ok(())
}

async fn respond(shelf: &Shelf, question: &'static str, request: Request) {
    let meters = &shelf.state.meters;
    meters.asked(question);
    let (asked, payload) = (request.subject.as_str(), &request.payload[..]);
    let noted = |refusal: &Refusal| meters.refused(refusal);
    let answer = match question {
        question::QUARANTINE_LIST => {
            answer::write(list(shelf, asked, payload).await.inspect_err(noted))
        }
        question::QUARANTINE_SHOW => {
            answer::write(show(shelf, asked, payload).await.inspect_err(noted))
        }
        _ => answer::write(redriven(shelf, asked, payload).await.inspect_err(noted)),
    };
    if let Err(error) = request.respond(answer).await {
        debug!(%error, question, "an answer could not be sent");
    }
}

async fn list(shelf: &Shelf, asked: &str, payload: &[u8]) -> Result<ListAnswer, Refusal> {
    let (tenant, request) = answer::read::<ListRequest>(asked, payload)?;
    shelf.list(&tenant, &request).await
}

async fn show(shelf: &Shelf, asked: &str, payload: &[u8]) -> Result<ShowAnswer, Refusal> {
    let (tenant, request) = answer::read::<ItemRequest>(asked, payload)?;
    shelf.show(&tenant, &request.id).await
}

async fn redriven(shelf: &Shelf, asked: &str, payload: &[u8]) -> Result<RedriveAnswer, Refusal> {
    let (tenant, request) = answer::read::<ItemRequest>(asked, payload)?;
    redrive::redrive(shelf, &tenant, &request.id).await
}

//! Answers questions about views until told to stop.

use std::sync::Arc;
use std::time::Instant;

use domain::replay::view::{Progress, ProgressRequest, RebuildRequest};
use domain::replay::{question, refusal};
use domain::{subject, views};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use runtime::nats::Nats;
use runtime::requests::Request;
use runtime::tasks::BoxError;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::asking::Reader;
use super::{Builds, Views};
use crate::answer::{self, Refusal};
use crate::meters::Meters;
use crate::pages::{QUEUE, last};

/// Questions about the past read from the log; more than this many wait in the subscription.
const AT_ONCE: usize = 32;

pub(crate) async fn serve(
    nats: Nats,
    views: Arc<Views>,
    meters: Meters,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    let mut server = nats.serve(&subject::replay_requests(question::VIEW), QUEUE).await?;
    let reader = Reader::new(&nats, views);
    let mut open = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(()) = open.next() => {}
            request = server.next(), if open.len() < AT_ONCE => match request {
                Some(request) => open.push(respond(&reader, &meters, request)),
                None => break,
            }
        }
    }
    server.stop().await;
    while let Some(request) = last(&mut server).await {
        open.push(respond(&reader, &meters, request));
    }
    while open.next().await.is_some() {}
    Ok(())
}

async fn respond(reader: &Reader, meters: &Meters, request: Request) {
    let begun = Instant::now();
    meters.asked(question::VIEW);
    let answered = async {
        let (tenant, asked) = answer::read(&request.subject, &request.payload)?;
        reader.answer(&tenant, asked).await
    };
    let answered = answered.await.inspect_err(|refusal| meters.refused(refusal));
    meters.latency.observe(begun.elapsed().as_secs_f64());
    if let Err(error) = request.respond(answer::write(answered)).await {
        debug!(%error, "an answer could not be sent");
    }
}

/// Tells whose a telephone number is.
pub(crate) async fn serve_contacts(
    nats: Nats,
    views: Arc<Views>,
    meters: Meters,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    let asked = subject::replay_requests(question::CONTACT_BY_PHONE);
    let mut server = nats.serve(&asked, QUEUE).await?;
    let reader = Reader::new(&nats, views);
    while let Some(request) = tokio::select! {
        biased;
        () = shutdown.cancelled() => None,
        request = server.next() => request,
    } {
        meters.asked(question::CONTACT_BY_PHONE);
        let answered = answer::read(&request.subject, &request.payload)
            .and_then(|(tenant, asked)| reader.contact_by_phone(&tenant, &asked))
            .inspect_err(|refusal| meters.refused(refusal));
        if let Err(error) = request.respond(answer::write(answered)).await {
            debug!(%error, "an answer could not be sent");
        }
    }
    Ok(())
}

/// Has views built anew and tells how far they are. Every node hears every wish and builds its own views.
pub(crate) async fn serve_builds(
    nats: Nats,
    builds: Arc<Builds>,
    meters: Meters,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    // A group of its own, so that no node answers for another.
    let queue = format!("replay-{}", builds.node());
    let mut wishes = nats.serve(&subject::replay_requests(question::VIEW_REBUILD), &queue).await?;
    let mut looks = nats.serve(&subject::replay_requests(question::VIEW_PROGRESS), &queue).await?;
    loop {
        let (question, request) = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            Some(request) = wishes.next() => (question::VIEW_REBUILD, request),
            Some(request) = looks.next() => (question::VIEW_PROGRESS, request),
            else => return Ok(()),
        };
        meters.asked(question);
        let answered = match question {
            question::VIEW_REBUILD => Some(rebuild(&builds, &request)),
            _ => progress(&builds, &request),
        };
        // Another node's is that node's to tell.
        let Some(answered) = answered else { continue };
        let answered = answered.inspect_err(|refusal| meters.refused(refusal));
        if let Err(error) = request.respond(answer::write(answered)).await {
            debug!(%error, question, "an answer could not be sent");
        }
    }
}

fn rebuild(builds: &Builds, request: &Request) -> Result<Progress, Refusal> {
    let (_, asked) = answer::read::<RebuildRequest>(&request.subject, &request.payload)?;
    let view = views::find(&asked.view)
        .ok_or_else(|| Refusal::new(refusal::NOT_FOUND, "there is no such view"))?;
    let job = builds
        .wish(view.stream, vec![view], true)
        .map_err(|full| Refusal::new(refusal::UNAVAILABLE, full.to_string()))?;
    Ok(builds.progress(job).unwrap_or_default())
}

fn progress(builds: &Builds, request: &Request) -> Option<Result<Progress, Refusal>> {
    let asked = match answer::read::<ProgressRequest>(&request.subject, &request.payload) {
        Ok((_, asked)) => asked,
        Err(refusal) => return Some(Err(refusal)),
    };
    if asked.node != builds.node() {
        return None;
    }
    let found = builds.progress(asked.job);
    Some(found.ok_or_else(|| Refusal::new(refusal::NOT_FOUND, "nothing is known of this build")))
}

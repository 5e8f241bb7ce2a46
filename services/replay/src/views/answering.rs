//! Answers questions about views until told to stop.

use std::sync::Arc;
use std::time::Instant;

use domain::replay::question;
use domain::subject;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use runtime::nats::Nats;
use runtime::requests::Request;
use runtime::tasks::BoxError;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Views;
use super::asking::Reader;
use crate::answer;
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

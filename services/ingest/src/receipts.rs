//! What gateways have delivered of critical events goes into the log: who was sent it, on which device it was received.
//!
//! Gateways may not append; they hand their batches in as work, each under an id of its own, and what is stored twice is
//! recognised here. Nobody waits for it.

use std::sync::Arc;
use std::time::Duration;

use domain::catalogue::Publication;
use domain::envelope::header::MESSAGE_ID;
use domain::subject;
use runtime::durable::{Durable, Job};
use runtime::nats::Nats;
use runtime::tasks::Tasks;
use runtime::telemetry::chain;
use serde_json::Value;
use tracing::{error, warn};

use crate::intake::Intake;
use crate::metrics::Way;
use crate::worker::{self, Settled, pause};

const STREAM: &str = "COMMANDS";
const DURABLE: &str = "ingest-receipts";
const SOURCE: &str = "/receipts";
const AT_ONCE: usize = 16;
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

pub(crate) fn start(tasks: &mut Tasks, nats: &Nats, intake: &Intake) {
    let durable = Durable::open(nats, STREAM, DURABLE).with_batch(AT_ONCE);
    let (intake, stop) = (Arc::new(intake.clone()), tasks.shutdown());
    tasks.spawn("receipts", async move {
        let handle = |job: Arc<Job>| {
            let intake = intake.clone();
            async move { keep(&intake, &job).await }
        };
        worker::work(durable, AT_ONCE, stop, handle).await
    });
}

async fn keep(intake: &Intake, job: &Job) -> Settled {
    let message = &job.message;
    let read = serde_json::from_slice::<Value>(&message.payload).ok();
    let id = message.headers.get(MESSAGE_ID);
    let (Some(data), Some(id), Ok(tenant)) = (read, id, subject::tenant_of(&message.subject))
    else {
        error!(sequence = message.sequence, "receipts that cannot be read");
        return Settled::Never;
    };
    let batch = Publication {
        key: Some(id.to_owned()),
        ..Publication::new("crisis.receipts", SOURCE, data)
    };
    let admitted = match intake.admit_own(&tenant, batch) {
        Ok(admitted) => admitted,
        Err(refusal) => {
            error!(sequence = message.sequence, %refusal, "receipts that the catalogue refuses");
            return Settled::Never;
        }
    };
    match intake.store(Way::Own, admitted).await {
        Ok(_) => Settled::Done,
        Err(error) => {
            warn!(error = chain(&error), "receipts wait for the log");
            Settled::Later(pause(job.delivered, LONGEST_PAUSE))
        }
    }
}

//! `throughline simulate`: providers' traffic as it looks in life, signed and sent to the real endpoints.

mod calls;
mod messages;
mod people;
mod sending;
mod sign;
mod story;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use tokio_util::sync::CancellationToken;

use crate::arguments::Target;
use crate::client::Client;
use crate::data::DataFolder;
use crate::failure::Failure;
use crate::sources::Sources;
use crate::table::line;

pub(crate) use sending::Sending;
pub(crate) use sign::Signed;
pub(crate) use story::{Kind, Stories};

/// The code that a source nobody knows is refused with.
const UNKNOWN: &str = "(unknown_source)";

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What to simulate
    #[arg(value_enum, default_value = "all")]
    kind: Kind,
    /// Requests per second
    #[arg(long, short, default_value_t = 5.0)]
    rate: f64,
    /// How many requests; without it, until Ctrl-C
    #[arg(long, short = 'n')]
    count: Option<u64>,
    /// The same seed sends the same stories
    #[arg(long)]
    seed: Option<u64>,
    /// Say nothing but the total
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    target: Target,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let simulator =
        Simulator::new(arguments.target.ingest()?, &arguments.target.folder()?, arguments.quiet)?;
    if !(arguments.rate > 0.0 && arguments.rate <= 10_000.0) {
        return Err(Failure::Usage("--rate is between 0 and 10000 a second".to_owned()));
    }
    let seed = arguments.seed.unwrap_or_else(|| u64::from_le_bytes(runtime::ids::random_bytes()));
    eprintln!("# seed {seed}");
    let (stop, _signals) =
        runtime::tasks::stop_on_signals().map_err(|error| Failure::failed("signals", error))?;
    let plan = Plan {
        kind: arguments.kind,
        pace: Duration::from_secs_f64(1.0 / arguments.rate),
        count: arguments.count.unwrap_or(u64::MAX),
        seed,
    };
    let sent = simulator.play(&plan, &stop).await?;
    eprintln!("# {sent} requests, all accepted");
    Ok(())
}

pub(crate) struct Plan {
    pub(crate) kind: Kind,
    pub(crate) pace: Duration,
    pub(crate) count: u64,
    pub(crate) seed: u64,
}

pub(crate) struct Simulator {
    client: Client,
    sources: Sources,
    file: PathBuf,
    quiet: bool,
}

impl Simulator {
    pub(crate) fn new(client: Client, folder: &DataFolder, quiet: bool) -> Result<Self, Failure> {
        let file = Sources::file(folder);
        Ok(Self { client, sources: Sources::read(&file)?, file, quiet })
    }

    /// Sends until the count is reached or the stop comes; says how many requests were accepted.
    pub(crate) async fn play(&self, plan: &Plan, stop: &CancellationToken) -> Result<u64, Failure> {
        let mut stories = Stories::new(plan.kind, plan.seed);
        let mut ticks = tokio::time::interval(plan.pace);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut sent = 0;
        while sent < plan.count {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => break,
            }
            self.send(&stories.next(runtime::clock::now())).await?;
            sent += 1;
        }
        Ok(sent)
    }

    async fn send(&self, sending: &Sending) -> Result<(), Failure> {
        let signed = Signed::new(sending, &self.sources)?;
        let mut request = self.client.request(Method::POST, &signed.path, signed.with_token);
        for (name, value) in &signed.headers {
            request = request.header(*name, value);
        }
        let started = Instant::now();
        let sent = self.client.send(request, Bytes::from(signed.body)).await;
        sent.map_err(|failure| explained(failure, &self.file))?;
        if self.quiet {
            return Ok(());
        }
        line(&format!("{:<42} {:>5.1} ms", sending.about(), started.elapsed().as_secs_f64() * 1e3))
    }
}

/// An ingest with sources of its own knows none of the data folder's.
fn explained(failure: Failure, file: &Path) -> Failure {
    match failure {
        Failure::Failed(reason) if reason.contains(UNKNOWN) => Failure::Failed(format!(
            "{reason}\nIngest knows no such source: it was started with another SOURCES_FILE. \
             Run this with the same SOURCES_FILE, or start ingest with {}.",
            file.display()
        )),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_ingest_does_not_know_is_told_with_what_to_do() {
        let file = Path::new("/data/secrets/sources.toml");
        let told = |reason: &str| explained(Failure::Failed(reason.to_owned()), file).to_string();
        let unknown = told("refused: 404 Not Found (unknown_source): No source of this name");
        assert!(unknown.contains("SOURCES_FILE") && unknown.contains("/data/secrets"), "{unknown}");
        assert_eq!(told("refused: 401"), "refused: 401");
    }
}

//! `throughline view rebuild`: asks for it and shows how far it is.

use std::time::Duration;

use domain::replay::view::{BuildState, Progress};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::arguments::Target;
use crate::client::Client;
use crate::failure::Failure;
use crate::table::line;

const PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// View to build anew
    view: String,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

pub(super) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let client = arguments.target.gateway()?;
    let mut told = read(&client.post("/v1/rebuilds", &json!({ "view": arguments.view })).await?)?;
    let bar = bar();
    while matches!(told.state, BuildState::Waiting | BuildState::Building) {
        bar.set_length(told.total);
        bar.set_position(told.done);
        tokio::time::sleep(PAUSE).await;
        told = look(&client, &told).await?;
    }
    bar.finish_and_clear();
    if arguments.json {
        let whole = serde_json::to_string(&told).unwrap_or_default();
        line(&whole)?;
    }
    match (told.state, told.same) {
        (BuildState::Failed, _) => {
            Err(Failure::Failed(told.message.unwrap_or_else(|| "the build failed".to_owned())))
        }
        _ if arguments.json => Ok(()),
        (_, Some(false)) => line(&format!(
            "{}: built anew from {} events; it is another than before and has taken over",
            arguments.view, told.total
        )),
        _ => line(&format!(
            "{}: built anew from {} events, the same byte for byte ({})",
            arguments.view,
            told.total,
            told.digest.unwrap_or_default()
        )),
    }
}

async fn look(client: &Client, told: &Progress) -> Result<Progress, Failure> {
    read(&client.get(&format!("/v1/rebuilds/{}/{}", told.node, told.job)).await?)
}

fn read(body: &[u8]) -> Result<Progress, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure::failed("the progress", error))
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} events, {per_sec}, {eta} left");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar
}

//! `throughline team add`: gives a team its own NATS user, with the right to publish for its tenant and no more.

use std::path::{Path, PathBuf};

use domain::token::{Tenant, Token};
use runtime::nats_server::teams::{self, Team};
use runtime::provision::{self, ApplyOptions};
use serde_json::json;

use crate::data::{self, DataFolder, Endpoints, Secrets};
use crate::failure::Failure;
use crate::streams;
use crate::table::{aligned, line, write_out};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Add a team, or give it another key; prints the key once
    Add(Add),
}

#[derive(Debug, clap::Args)]
struct Add {
    /// Whose events it publishes
    tenant: String,
    /// Name of the team
    name: String,
    /// Let it also consume its tenant's events, by durables of its own
    #[arg(long)]
    consume: bool,
    /// File of the server's users; without it, the data folder's, whose server reads it again at once
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: data::Location,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let Action::Add(add) = arguments.action;
    let usage = |error: domain::token::InvalidToken| Failure::Usage(error.to_string());
    let pair = teams::key_pair().map_err(|error| Failure::failed("the key", error))?;
    let team = Team {
        tenant: Tenant::parse(&add.tenant).map_err(usage)?,
        name: Token::parse(&add.name).map_err(usage)?,
        public_key: pair.public_key,
        consumes: add.consume,
    };
    match &add.users {
        Some(users) => write_user(users, &team)?,
        None => {
            let folder = DataFolder::existing(&add.data.data)?;
            if team.consumes {
                Box::pin(make_durables(&folder, &team)).await?;
            }
            write_user(&folder.nats_path().join("users.conf"), &team)?;
            reload(&folder.nats_path())?;
        }
    }
    show(&add, &team, &pair.seed)
}

/// Beside the old file and then over it, so that the server never reads half of one.
fn write_user(file: &Path, team: &Team) -> Result<(), Failure> {
    let told = |error: std::io::Error| Failure::failed(file.display().to_string(), error);
    let old = std::fs::read_to_string(file).map_err(told)?;
    let new = teams::add(&old, team)
        .map_err(|error| Failure::failed(file.display().to_string(), error))?;
    let beside = file.with_extension("conf.new");
    std::fs::write(&beside, new).map_err(told)?;
    std::fs::rename(&beside, file).map_err(told)
}

/// The durables come before the user, who could do nothing without them.
async fn make_durables(folder: &DataFolder, team: &Team) -> Result<(), Failure> {
    let mut definitions = streams::definitions(None)?;
    for text in team.durables() {
        definitions
            .add_consumer(&team.durable(), &text)
            .map_err(|error| Failure::failed("the durables", error))?;
    }
    let url = Secrets::load_or_make(folder, None)?.nats_url("admin", &Endpoints::of(folder).nats);
    let nats = streams::connect(&streams::admin(&url)).await?;
    provision::apply(&nats, &definitions, ApplyOptions::default())
        .await
        .map(drop)
        .map_err(|error| Failure::failed("the durables", error))
}

/// SIGHUP to the folder's server, if it runs; a server that starts later reads the file anyway.
fn reload(nats: &Path) -> Result<(), Failure> {
    let file = nats.join("nats-server.pid");
    let Some(pid) = running(&file) else {
        eprintln!("# nats-server does not run; it knows the team when it starts");
        return Ok(());
    };
    rustix::process::kill_process(pid, rustix::process::Signal::HUP)
        .map_err(|error| Failure::failed("reloading nats-server", error))
}

/// The number in the file may belong to anything by now: only a process started with this file counts.
fn running(file: &Path) -> Option<rustix::process::Pid> {
    let pid: i32 = std::fs::read_to_string(file).ok()?.trim().parse().ok()?;
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let is_it = String::from_utf8_lossy(&command).contains(file.to_str()?);
    rustix::process::Pid::from_raw(pid).filter(|_| is_it)
}

fn show(add: &Add, team: &Team, seed: &str) -> Result<(), Failure> {
    let (inbox, durable) = (team.inbox_prefix(), team.durable());
    if add.json {
        let made = team.consumes && add.users.is_none();
        let durable = team.consumes.then_some(durable);
        return line(
            &json!({ "tenant": add.tenant, "team": add.name, "publicKey": team.public_key,
                     "seed": seed, "inboxPrefix": inbox, "durable": durable, "durableMade": made })
            .to_string(),
        );
    }
    let mut rows = vec![
        ["Seed", seed, "keep it secret; it is not kept here"],
        ["Inbox prefix", &inbox, "tell the NATS client to use it"],
        ["Publish to", &format!("publish.{}.<category>.<entity>.<name>", team.tenant), ""],
    ]
    .into_iter()
    .map(|row| row.map(str::to_owned))
    .collect::<Vec<_>>();
    if team.consumes {
        let where_it_is = if add.users.is_some() {
            "not made here: add it on each event stream to the definitions that `streams apply` gets"
        } else {
            "on each event stream"
        };
        rows.push(["Durable".to_owned(), durable, where_it_is.to_owned()]);
    }
    write_out(aligned(&rows).as_bytes())
}

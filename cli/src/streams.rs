//! `throughline streams`: the one identity that may make or change streams, buckets and durables does it here.

use std::path::PathBuf;
use std::time::Duration;

use runtime::config::{Environment, NATS_CREDS, NATS_URL, Reader, STRICT_DURABILITY};
use runtime::nats::{ConnectError, Credentials, Nats, NatsConfig};
use runtime::provision::{self, ApplyOptions, Definitions, Durability, Report, State, Update};
use serde_json::json;
use tracing::warn;

use crate::data::{self, DataFolder, Endpoints, Secrets};
use crate::failure::Failure;
use crate::table::{aligned, line, write_out};
use crate::up::init_log;

const CONNECT_WITHIN: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Say what is missing or differs; exit code 1 if anything does
    Check(Options),
    /// Make what is missing; refuse what differs, unless --update
    Apply {
        #[command(flatten)]
        options: Options,
        /// Change what differs, as far as the server allows it
        #[arg(long)]
        update: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Options {
    /// Folder with the definitions; without it, those built in
    #[arg(long, value_name = "DIR")]
    definitions: Option<PathBuf>,
    /// Copies of every stream: 1 for one server, 3 for a cluster
    #[arg(long, default_value_t = 1)]
    replicas: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: data::Location,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    init_log()?;
    // A mistake in it is told before anybody is asked.
    let strict = strict()?;
    match arguments.action {
        Action::Check(options) => {
            let (nats, _) = options.connect().await?;
            let report = provision::check(&nats, &options.definitions()?, options.replicas)
                .await
                .map_err(|error| Failure::failed("checking", error))?;
            show(&report, options.json)?;
            let is_fine = report.items.iter().all(|item| item.state == State::Unchanged);
            if is_fine { Ok(()) } else { Err(Failure::Failed("not as declared".to_owned())) }
        }
        Action::Apply { options, update } => {
            let (nats, system) = options.connect().await?;
            // Asked before anything is made: a server that is refused is left as it was.
            let promised = demand(&system, strict).await?;
            let apply = ApplyOptions { replicas: options.replicas, update: how(update) };
            let report = provision::apply(&nats, &options.definitions()?, apply)
                .await
                .map_err(|error| Failure::failed("applying", error))?;
            show(&report, options.json)?;
            record(&promised, &nats).await
        }
    }
}

impl Options {
    fn definitions(&self) -> Result<Definitions, Failure> {
        definitions(self.definitions.as_deref())
    }

    /// By the environment as every service is, else by the data folder of `throughline up`.
    async fn connect(&self) -> Result<(Nats, NatsConfig), Failure> {
        let mut reader = Reader::new(&Environment);
        let folder = DataFolder::existing(&self.data.data).ok();
        let secrets = folder.as_ref().map(|it| Secrets::load_or_make(it, None)).transpose()?;
        let (admin, system) = match (reader.given(&NATS_URL), &folder, &secrets) {
            (Some(url), ..) => {
                let credentials =
                    reader.path(&NATS_CREDS).map(|path| read_credentials(&path)).transpose()?;
                let admin =
                    NatsConfig { url: url.clone(), credentials, service: "admin".to_owned() };
                let system = secrets.as_ref().map(|it| it.nats_url("sys", &url)).unwrap_or(url);
                (admin, system)
            }
            (None, Some(folder), Some(secrets)) => {
                let address = Endpoints::of(folder).nats;
                (admin(&secrets.nats_url("admin", &address)), secrets.nats_url("sys", &address))
            }
            _ => {
                return Err(Failure::configuration(
                    "NATS_URL: missing, for example nats://admin:password@localhost:4222; or name the folder of `throughline up` with --data",
                ));
            }
        };
        let system = NatsConfig { url: system, credentials: None, service: "sys".to_owned() };
        Ok((connect(&admin).await?, system))
    }
}

pub(crate) fn read_credentials(path: &std::path::Path) -> Result<Credentials, Failure> {
    let told =
        |error: String| Failure::configuration(format!("NATS_CREDS: {}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| told(error.to_string()))?;
    Credentials::parse(&text).map_err(|error| told(error.to_string()))
}

pub(crate) fn admin(url: &str) -> NatsConfig {
    NatsConfig { url: url.to_owned(), credentials: None, service: "admin".to_owned() }
}

pub(crate) async fn connect(config: &NatsConfig) -> Result<Nats, Failure> {
    let told = |error| match error {
        ConnectError::Refused => refused(config),
        error => Failure::failed("NATS", error),
    };
    let nats = Nats::connect(config).await.map_err(told)?;
    nats.wait_connected(CONNECT_WITHIN).await.map_err(told)?;
    Ok(nats)
}

/// What to look at when the server does not take who we are. The URL is not repeated: it may hold a password.
fn refused(config: &NatsConfig) -> Failure {
    let reader = Reader::new(&Environment);
    let (said, look) = if config.credentials.is_some() {
        ("refused the user or the password", "see the file that NATS_CREDS names")
    } else if !config.url.contains('@') {
        (
            "asks for a user and a password",
            "the URL names none: NATS_URL (or --nats-url) such as nats://admin:password@localhost:4222, or NATS_CREDS",
        )
    } else if reader.given(&NATS_URL).is_some() {
        ("refused the user or the password", "see NATS_URL")
    } else {
        ("refused the user or the password", "see --nats-url, or the passwords in the data folder")
    };
    Failure::Failed(format!("the NATS server {said}; {look}"))
}

pub(crate) fn definitions(folder: Option<&std::path::Path>) -> Result<Definitions, Failure> {
    let definitions = folder.map_or_else(Definitions::builtin, Definitions::load);
    definitions.map_err(|error| Failure::failed("the definitions", error))
}

fn strict() -> Result<bool, Failure> {
    let mut reader = Reader::new(&Environment);
    let strict = reader.flag(&STRICT_DURABILITY);
    Ok(reader.finish(strict)?)
}

/// Asks the server how durable an acknowledged message is, and says loudly, or with `strict` refuses, what is not.
pub(crate) async fn demand(system: &NatsConfig, strict: bool) -> Result<Durability, Failure> {
    let durability = match Durability::ask(system).await {
        Ok(durability) => durability,
        Err(error) => {
            warn!(%error, "the server could not be asked how often it syncs");
            Durability::default()
        }
    };
    durability.enforce(strict).map_err(|error| Failure::failed("STRICT_DURABILITY", error))?;
    Ok(durability)
}

/// Leaves the server's promise for the services, which have no right to ask.
pub(crate) async fn record(promised: &Durability, nats: &Nats) -> Result<(), Failure> {
    let recorded = promised.record(nats).await;
    recorded.map_err(|error| Failure::failed("recording the durability", error))
}

fn how(update: bool) -> Update {
    if update { Update::Everything } else { Update::Nothing }
}

fn show(report: &Report, as_json: bool) -> Result<(), Failure> {
    if as_json {
        let items = report
            .items
            .iter()
            .map(|item| json!({ "name": item.name, "state": word(&item.state) }));
        return line(&json!({ "items": items.collect::<Vec<_>>() }).to_string());
    }
    let rows: Vec<[String; 2]> =
        report.items.iter().map(|item| [item.name.clone(), word(&item.state)]).collect();
    write_out(aligned(&rows).as_bytes())
}

fn word(state: &State) -> String {
    match state {
        State::Missing => "missing".to_owned(),
        State::Created => "created".to_owned(),
        State::Unchanged => "as declared".to_owned(),
        State::Updated => "updated".to_owned(),
        State::Differs(differences) => {
            let told: Vec<String> = differences.iter().map(ToString::to_string).collect();
            format!("differs: {}", told.join("; "))
        }
    }
}

//! The four services, configured as their own programs are, on listeners that are already bound.

use std::collections::BTreeMap;

use runtime::config::{Environment, Mistakes, Overlay, Strings};
use runtime::tasks::Tasks;

use crate::data::Secrets;
use crate::failure::Failure;
use crate::up::broker::Broker;
use crate::up::listeners::Listeners;
use crate::up::settings::Settings;

/// Where NATS is before it is anywhere.
const NATS: &str = "nats://localhost:4222";

struct Configs {
    gateway: gateway::Config,
    ingest: ingest::Config,
    ai_proxy: ai_proxy::Config,
    replay: replay::Config,
}

impl Configs {
    /// By what a service of this name reads; every mistake in any of them is told at once.
    fn read<S: Strings>(strings: impl Fn(&str) -> S) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes(Vec::new());
        let gateway = noted(&mut mistakes, gateway::Config::read(&strings("gateway")));
        let ingest = noted(&mut mistakes, ingest::Config::read(&strings("ingest")));
        let ai_proxy = noted(&mut mistakes, ai_proxy::Config::read(&strings("ai-proxy")));
        let replay = noted(&mut mistakes, replay::Config::read(&strings("replay")));
        match (gateway, ingest, ai_proxy, replay) {
            (Some(gateway), Some(ingest), Some(ai_proxy), Some(replay)) => {
                Ok(Self { gateway, ingest, ai_proxy, replay })
            }
            _ => Err(mistakes),
        }
    }
}

/// What the services will say to what `given` says, before there are secrets and a server.
pub(crate) fn check(
    given: &dyn Strings,
    settings: &Settings,
    nats_url: Option<&str>,
) -> Result<(), Mistakes> {
    let (made_up, url) = (settings.stand_ins(), nats_url.unwrap_or(NATS));
    Configs::read(|_| over(url.to_owned(), given, &made_up)).map(drop)
}

/// Our address of NATS goes before what is given, what is made up behind it.
fn over<'a>(
    nats: String,
    given: &'a dyn Strings,
    made_up: &'a BTreeMap<String, String>,
) -> impl Strings + 'a {
    let own = BTreeMap::from([("NATS_URL".to_owned(), nats)]);
    Overlay(own, Overlay(given, made_up))
}

/// Spawns all of them.
pub(crate) fn spawn(
    tasks: &mut Tasks,
    listeners: Listeners,
    settings: &Settings,
    secrets: &Secrets,
    broker: &Broker,
) -> Result<(), Failure> {
    let made_up = settings.made_up(secrets);
    let configs = Configs::read(|service| over(broker.url(service), &Environment, &made_up))?;
    let Configs { mut gateway, mut ingest, ai_proxy, replay } = configs;
    gateway.auth.localhost = true;
    ingest.auth.localhost = true;
    let [gateway_ops, ingest_ops, ai_proxy_ops, replay_ops] = listeners.ops;
    let stop = tasks.shutdown();
    let public = gateway::Listeners { public: listeners.gateway, ops: gateway_ops };
    tasks.spawn("gateway", gateway::run(gateway, public, stop.clone()));
    let public = ingest::Listeners { http: listeners.ingest, ops: ingest_ops };
    tasks.spawn("ingest", ingest::run(ingest, public, stop.clone()));
    let ops = ai_proxy::Listeners { ops: ai_proxy_ops };
    tasks.spawn("ai-proxy", ai_proxy::run(ai_proxy, ops, stop.clone()));
    tasks.spawn("replay", replay::run(replay, replay::Listeners { ops: replay_ops }, stop));
    Ok(())
}

fn noted<T>(mistakes: &mut Mistakes, read: Result<T, Mistakes>) -> Option<T> {
    match read {
        Ok(config) => Some(config),
        Err(Mistakes(told)) => {
            for mistake in told {
                if !mistakes.0.contains(&mistake) {
                    mistakes.0.push(mistake);
                }
            }
            None
        }
    }
}

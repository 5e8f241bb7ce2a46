//! The four services, configured as their own programs are, on listeners that are already bound.

use runtime::config::{Environment, Mistakes, Overlay};
use runtime::tasks::Tasks;

use crate::data::Secrets;
use crate::failure::Failure;
use crate::up::broker::Broker;
use crate::up::listeners::Listeners;
use crate::up::settings::Settings;

/// Spawns all of them; every mistake in any configuration is told at once.
pub(crate) fn spawn(
    tasks: &mut Tasks,
    listeners: Listeners,
    settings: &Settings,
    secrets: &Secrets,
    broker: &Broker,
) -> Result<(), Failure> {
    let made_up = settings.made_up(secrets);
    let strings = |service: &str| {
        let own = std::collections::BTreeMap::from([("NATS_URL".to_owned(), broker.url(service))]);
        Overlay(own, Overlay(Environment, made_up.clone()))
    };
    let mut mistakes = Mistakes(Vec::new());
    let gateway = noted(&mut mistakes, gateway::Config::read(&strings("gateway")));
    let ingest = noted(&mut mistakes, ingest::Config::read(&strings("ingest")));
    let ai_proxy = noted(&mut mistakes, ai_proxy::Config::read(&strings("ai-proxy")));
    let replay = noted(&mut mistakes, replay::Config::read(&strings("replay")));
    let (Some(mut gateway), Some(mut ingest), Some(ai_proxy), Some(replay)) =
        (gateway, ingest, ai_proxy, replay)
    else {
        return Err(Failure::Configuration(mistakes));
    };
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

//! Alerts that somebody answers or that are escalated, whoever is killed; and of two who take one, one has it.

use std::path::Path;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::checker::History;
use crate::clients::http::Request;
use crate::clients::scripts::setting;
use crate::clients::token::token;
use crate::commands::post;
use crate::harness::cast::{admin, journey};
use crate::harness::{Admin, Options, Service, TENANT, TestPlatform, eventually};

mod desk;
mod judge;
mod pager;

pub(crate) use desk::Desk;
use judge::{Verdict, stories};
use pager::Pager;

/// A page that is refused is tried again for as long as this: until then no clock and no page may be left.
const AT_REST: Duration = Duration::from_secs(120);

fn alerts() -> usize {
    setting("E2E_CRISES", &ROUND.to_string())
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .parse()
        .unwrap()
}

/// The alerts of one round; more come in as many more rounds, each with a rest behind it.
const ROUND: usize = 200;
const RAISED_WITHIN: Duration = Duration::from_secs(15);
const KILLS_LAST: Duration = Duration::from_secs(25);
/// As long as instances that start on a busy machine take.
const REST: Duration = Duration::from_secs(20);

fn rounds() -> u32 {
    u32::try_from(alerts().div_ceil(ROUND)).unwrap()
}

fn seed() -> u64 {
    let random = rand::random::<u32>().to_string();
    setting("E2E_SEED", &random).file_name().unwrap().to_str().unwrap().parse().unwrap()
}

fn chains(folder: &Path, within: [Duration; 2], webhook: Option<&Pager>) -> String {
    let [acknowledge, resolve] = within.map(|within| within.as_secs());
    let webhook = webhook.map_or_else(String::new, |pager| {
        let secret = crate::harness::STANDARD;
        format!("webhook = {{ url = 'http://{}/hook', secret = '{secret}' }}", pager.address)
    });
    let text = format!(
        "[[chain]]\ntenant = '*'\nresolve_within = {resolve}\n\
         acknowledge_within = {{ imminent = {acknowledge}, high = {acknowledge} }}\n\
         [[chain.tier]]\nname = 'on-call'\nrole = 'admin'\n\
         [[chain.tier]]\nname = 'duty-manager'\nusers = ['manager']\n{webhook}\n"
    );
    let path = folder.join("escalation.toml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn options(chains: &str) -> Options {
    Options::default()
        .two_gateways()
        .two_ingests()
        .set(Service::Ingest, "ESCALATION_FILE", chains)
        .set(Service::SecondIngest, "ESCALATION_FILE", chains)
}

fn raise(conversation: &str) -> Json {
    json!({ "userId": "7", "conversationId": conversation, "severity": "imminent", "signals": ["x"] })
}

#[tokio::test]
async fn of_two_who_take_an_alert_at_once_one_has_it_and_the_other_is_told_who() {
    journey(120, async {
        let folder = TempDir::new().unwrap();
        let chains = chains(folder.path(), [Duration::from_secs(600); 2], None);
        let platform = TestPlatform::start_with(options(&chains)).await;
        let gateways = [platform.gateway(), platform.second_gateway()];
        let screen = Desk::screen(&gateways);
        let desks = ["1", "2"].map(|user| Desk::of(user, "admin", &gateways));
        let mut won = [0, 0];
        for round in 0..40 {
            let conversation = format!("c-{round}");
            let raised = screen.insist("crisis.raise", &conversation, &raise(&conversation)).await;
            let alert = raised["alertId"].as_str().unwrap().to_owned();
            let (data, id) = (json!({ "alertId": alert }), format!("take-{alert}"));
            let (one, two) = tokio::join!(
                desks[0].ask(0, "crisis.assign", &id, &data),
                desks[1].ask(1, "crisis.assign", &id, &data),
            );
            let told = [one.unwrap(), two.unwrap()];
            let winner = usize::from(told[0]["ok"] != true);
            let (first, second) = (&told[winner], &told[1 - winner]);
            let name = ["1", "2"][winner];
            assert_eq!((&first["ok"], &first["assignedTo"]), (&json!(true), &json!(name)));
            assert_eq!(second["code"], "already_assigned", "{second}");
            assert_eq!(second["assignedTo"], name, "{second}");
            // Asked again, each hears the same.
            let again = desks[1 - winner].insist("crisis.assign", &id, &data).await;
            assert_eq!((&again["code"], &again["assignedTo"]), (&second["code"], &json!(name)));
            won[winner] += 1;
        }
        eprintln!("won {won:?}");
        platform.finish().await;
    })
    .await;
}

/// What becomes of an alert after it is raised: some are taken, by two at once, some are left to the chain.
async fn live(number: usize, desks: &[Desk; 3], mut rng: StdRng) {
    let [screen, one, two] = desks;
    let conversation = format!("c-{number}");
    let round = u32::try_from(number / ROUND).unwrap();
    let begins = (KILLS_LAST + REST) * round + RAISED_WITHIN.mul_f64(rng.random());
    tokio::time::sleep(begins).await;
    let raised = screen.insist("crisis.raise", &conversation, &raise(&conversation)).await;
    let alert = raised["alertId"].as_str().unwrap_or_else(|| panic!("{raised}")).to_owned();
    let data = json!({ "alertId": alert });
    tokio::time::sleep(Duration::from_millis(rng.random_range(0..5_000))).await;
    if rng.random_ratio(1, 2) {
        let id = format!("take-{alert}");
        let (first, second) = tokio::join!(
            one.insist("crisis.assign", &id, &data),
            two.insist("crisis.assign", &id, &data),
        );
        let winners = [&first, &second].into_iter().filter(|told| told["ok"] == true).count();
        // An alert that was opened again in between is free for the second, too.
        assert!((1..=2).contains(&winners), "{first} {second}");
    }
    tokio::time::sleep(Duration::from_millis(rng.random_range(0..6_000))).await;
    one.insist("crisis.resolve", &format!("resolve-{alert}"), &data).await;
}

async fn kill_in_rounds(platform: &mut TestPlatform, rng: &mut StdRng) -> usize {
    let mut kills = kill_at_random(platform, rng).await;
    for _ in 1..rounds() {
        tokio::time::sleep(REST).await;
        kills += kill_at_random(platform, rng).await;
    }
    kills
}

async fn kill_at_random(platform: &mut TestPlatform, rng: &mut StdRng) -> usize {
    let until = Instant::now() + KILLS_LAST;
    let services = [Service::Ingest, Service::SecondIngest, Service::Gateway];
    let mut kills = 0;
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(rng.random_range(300..1_500))).await;
        let down = Duration::from_millis(rng.random_range(0..300));
        kills += 1;
        match services.get(rng.random_range(0..services.len() + 1)) {
            Some(&service) => {
                platform.kill(service);
                tokio::time::sleep(down).await;
                platform.begin_restart(service);
            }
            None => {
                platform.nats.kill().await;
                tokio::time::sleep(down).await;
                platform.nats.restart().await;
            }
        }
    }
    kills
}

#[tokio::test]
async fn under_random_kills_every_alert_is_answered_or_escalated_and_none_has_two_owners() {
    journey(400 * u64::from(rounds()), async {
        let seed = seed();
        eprintln!("E2E_SEED={seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let (folder, pager) = (TempDir::new().unwrap(), Pager::start().await);
        let within = [Duration::from_secs(2), Duration::from_secs(2)];
        let chains = chains(folder.path(), within, Some(&pager));
        let mut platform = TestPlatform::start_with(options(&chains)).await;
        let gateways = [platform.gateway(), platform.second_gateway()];
        let desks = [
            Desk::screen(&gateways),
            Desk::of("1", "admin", &gateways),
            Desk::of("2", "admin", &gateways),
        ];
        let mut of_kills = StdRng::seed_from_u64(rng.random());
        let lives =
            (0..alerts()).map(|number| live(number, &desks, StdRng::seed_from_u64(rng.random())));
        let lives = futures_util::future::join_all(lives);
        let (_, kills) = tokio::join!(lives, kill_in_rounds(&mut platform, &mut of_kills));
        for service in [Service::Ingest, Service::SecondIngest] {
            platform.ready(service).await;
        }
        let admin = platform.admin().await;
        is_at_rest(&admin).await;
        let (stories, mut verdict) = (stories(&admin).await, Verdict::default());
        assert_eq!(stories.len(), alerts(), "each detection has opened one alert");
        for (alert, story) in &stories {
            verdict.take(alert, story, within);
        }
        judge_pages(&stories, &pager);
        let (worst, steps) = (verdict.worst(), verdict.late.len());
        let Verdict { answered, escalated, reopened, .. } = verdict;
        eprintln!(
            "{kills} kills, {answered} taken, {escalated} escalated, {reopened} opened again; \
             of {steps} steps the latest came {worst:?} behind its deadline"
        );
        assert!(escalated > 0 && answered > 0 && reopened > 0, "the load was none");
        // What a killed instance held comes again within seconds, a server that was killed likewise.
        assert!(worst < Duration::from_secs(20), "an alert was left alone for {worst:?}");
        platform.finish().await;
    })
    .await;
}

/// No clock runs, and all that have run out are dealt with. A server that is killed right after one was removed may find
/// it again; it is not handed out again.
async fn is_at_rest(admin: &Admin) {
    let work = [("CRISIS", "ingest-escalation"), ("CRISIS", "ingest-paging"), ("TIMERS", "ingest")];
    eventually(AT_REST, "all clocks have run out", async || {
        !admin.subjects("TIMERS").await.iter().any(|subject| subject.starts_with("timers.set."))
    })
    .await;
    for (stream, durable) in work {
        eventually(AT_REST, &format!("{durable} of {stream} is done"), async || {
            admin.unsettled(stream, durable).await == 0
        })
        .await;
    }
}

/// Every page that came was asked for by one step, and every step that asked for one was heard or says why not.
fn judge_pages(stories: &std::collections::BTreeMap<String, Vec<judge::Step>>, pager: &Pager) {
    let all = || stories.values().flatten();
    let of = |step: &judge::Step| step.data["pageId"].as_str().map(str::to_owned);
    let asked: Vec<String> =
        all().filter(|step| step.kind == "crisis.escalated").filter_map(of).collect();
    let heard = pager.pages();
    for id in heard.keys() {
        assert!(asked.contains(id), "{id}: a page that no step asked for");
    }
    for id in &asked {
        let outcomes: Vec<_> = all()
            .filter(|step| step.kind.starts_with("crisis.page.") && of(step).as_ref() == Some(id))
            .collect();
        assert_eq!(outcomes.len(), 1, "{id}: {outcomes:?}");
        let was_taken = heard.get(id).is_some_and(|(_, taken)| *taken > 0);
        assert!(was_taken || outcomes[0].kind == "crisis.page.failed", "{id} was never taken");
    }
}

#[tokio::test]
async fn a_stock_client_that_answers_a_ping_has_received_the_alert() {
    journey(120, async {
        let options = Options::default().set(Service::Gateway, "HEARTBEAT_MS", "1000");
        let (platform, history) = (TestPlatform::start_with(options).await, History::new());
        let mut admins = Vec::new();
        for transport in ["websocket", "polling"] {
            let mut quiet = crate::safety::admin(&history, &format!("{transport}-admin"));
            quiet.connect(platform.gateway(), json!({ "transports": [transport] })).await;
            admins.push(quiet);
        }
        let command = json!({ "type": "crisis.raise", "data": raise("c-9") });
        let raised = post(platform.gateway(), ("screen", "service"), &command).await.json();
        let view = format!("/v1/views/deliveries/{}", raised["alertId"].as_str().unwrap());
        eventually(Duration::from_secs(20), "both have received it", async || {
            let request = Request::get(&view).bearer(&token(TENANT, "1", "admin"));
            let told = request.send(platform.gateway()).await.unwrap().json();
            let all = told["value"]["deliveries"].as_array().cloned().unwrap_or_default();
            let is_told = |name: &str| {
                all.iter().any(|one| one["userId"] == name && one["receivedAt"].is_string())
            };
            is_told("websocket-admin") && is_told("polling-admin")
        })
        .await;
        for quiet in &mut admins {
            quiet.event("crisis:alert").await;
        }
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn an_alert_tells_who_was_sent_it_who_received_it_and_who_handled_it() {
    journey(120, async {
        let folder = TempDir::new().unwrap();
        let chains = chains(folder.path(), [Duration::from_secs(600); 2], None);
        let (platform, history) =
            (TestPlatform::start_with(options(&chains)).await, History::new());
        let gateways = [platform.gateway(), platform.second_gateway()];
        let mut ann = admin(&history, "ann");
        ann.connect(gateways[0]).await.unwrap();
        let screen = Desk::screen(&gateways);
        let raised = screen.insist("crisis.raise", "k", &raise("c-9")).await;
        let alert = raised["alertId"].as_str().unwrap().to_owned();
        ann.wait_for("crisis:alert").await.unwrap();
        let deliveries = async || -> Json {
            let view = format!("/v1/views/deliveries/{alert}");
            let request = Request::get(&view).bearer(&token(TENANT, "1", "admin"));
            let answer = request.send(gateways[1]).await.unwrap();
            let told: Json = serde_json::from_slice(&answer.body).unwrap_or_default();
            told["value"].clone()
        };
        let of_ann = |told: &Json, state: &str| {
            let all = told["deliveries"].as_array().cloned().unwrap_or_default();
            all.iter().any(|one| one["userId"] == "ann" && one[state].is_string())
        };
        eventually(Duration::from_secs(20), "it is known to be sent", async || {
            of_ann(&deliveries().await, "sentAt")
        })
        .await;
        assert!(!of_ann(&deliveries().await, "receivedAt"), "nobody has said so yet");
        // The client comes back at the other gateway, behind the alert.
        ann.cut();
        ann.resume(gateways[1]).await.unwrap();
        eventually(Duration::from_secs(20), "it is known to be received", async || {
            of_ann(&deliveries().await, "receivedAt")
        })
        .await;
        let desk = Desk::of("1", "admin", &gateways);
        let data = json!({ "alertId": alert });
        desk.insist("crisis.acknowledge", "a", &data).await;
        desk.insist("crisis.resolve", "r", &data).await;
        eventually(Duration::from_secs(20), "it is known to be handled", async || {
            let told = deliveries().await;
            told["acknowledgedBy"] == "1" && told["resolvedBy"] == "1"
        })
        .await;
        platform.finish().await;
    })
    .await;
}

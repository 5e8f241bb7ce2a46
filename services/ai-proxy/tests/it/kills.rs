//! Killed at any moment: every message gets exactly one answer, neither two nor none.

use std::process::Child;
use std::time::Duration;

use runtime::ids;
use tokio::time::{Instant, sleep};

use crate::harness::{Platform, count, of};
use crate::sick_service::{Act, SickService};

const MESSAGES: usize = 24;
const KILLS: usize = 12;

fn variables(service: &SickService) -> Vec<(&'static str, String)> {
    vec![
        ("AI_PROVIDER", "openai".to_owned()),
        ("AI_SERVICE_URL", service.url()),
        ("AI_MODEL", "small".to_owned()),
    ]
}

struct Instances<'a> {
    platform: &'a Platform,
    variables: Vec<(&'static str, String)>,
    running: Vec<Child>,
}

impl<'a> Instances<'a> {
    fn start(platform: &'a Platform, service: &SickService, count: usize) -> Self {
        let mut all = Self { platform, variables: variables(service), running: Vec::new() };
        all.running = (0..count).map(|_| all.one()).collect();
        all
    }

    fn one(&self) -> Child {
        let variables: Vec<_> = self.variables.iter().map(|(n, v)| (*n, v.as_str())).collect();
        self.platform.process(&variables)
    }

    /// As a crash would end it; another takes its place at once.
    fn kill(&mut self, at: usize) {
        let at = at % self.running.len();
        let next = self.one();
        let mut killed = std::mem::replace(&mut self.running[at], next);
        killed.kill().unwrap();
        killed.wait().unwrap();
    }
}

impl Drop for Instances<'_> {
    fn drop(&mut self) {
        for child in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whenever_instances_are_killed_each_message_has_exactly_one_answer() {
    let platform = Box::pin(Platform::start()).await;
    let pieces = vec!["I ", "am ", "still ", "here ", "with ", "you."];
    let service = SickService::start(Act::Slowly(pieces, Duration::from_millis(60))).await;
    let mut instances = Instances::start(&platform, &service, 2);
    let conversation = |at: usize| format!("c-{}", at % 6);
    for at in 0..6 {
        platform.begin(&conversation(at)).await;
    }
    // Somebody is there: what is killed before it has begun shows nothing.
    platform.say("c-0", "first", "Are you there?").await;
    platform.answer("c-0", "first").await;
    let (mut said, mut kills) = (0, 0);
    let began = Instant::now();
    while said < MESSAGES || kills < KILLS {
        if said < MESSAGES {
            platform.say(&conversation(said), &format!("m-{said}"), "Are you there?").await;
            said += 1;
        }
        // Random, so that in many runs every moment is struck.
        sleep(Duration::from_millis(50 + ids::jitter(400))).await;
        let strikes = said == MESSAGES || service.is_busy();
        if kills < KILLS && strikes && ids::jitter(2) == 0 {
            instances.kill(kills);
            kills += 1;
        }
        assert!(began.elapsed() < Duration::from_secs(120));
    }
    for at in 0..MESSAGES {
        let answer = platform.answer(&conversation(at), &format!("m-{at}")).await;
        assert_eq!(answer["response"], "I am still here with you.");
    }
    platform.settled().await;
    let mut abandoned = 0;
    for at in 0..MESSAGES {
        let (events, message) = (platform.events(&conversation(at)).await, format!("m-{at}"));
        assert_eq!(count(&events, "ai.response", &message), 1, "{events:#?}");
        assert_eq!(count(&events, "ai.failed", &message), 0, "{events:#?}");
        abandoned += count(&events, "ai.attempt", &message) - 1;
        let after = of(&events, "ai.attempt", &message).map(|it| it.data["after"].as_str());
        let expected = |it: usize| (it > 0).then_some("unknown");
        assert!(after.enumerate().all(|(it, after)| after == expected(it)), "{events:#?}");
        // The one answer is of the last attempt.
        let last = of(&events, "ai.attempt", &message).last().unwrap();
        let answer = of(&events, "ai.response", &message).next().unwrap();
        assert_eq!(answer.data["attempt"], last.data["attempt"]);
        assert!(answer.sequence > last.sequence);
    }
    assert!(abandoned > 0, "no kill struck an attempt: the test shows nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_was_frozen_stores_nothing_once_another_has_taken_over() {
    let platform = Box::pin(Platform::start()).await;
    let service = SickService::start(Act::Hang).await;
    let pause = Duration::from_millis(700);
    service.then([Act::Slowly(vec!["The ", "first ", "answer."], pause)]);
    let instances = Instances::start(&platform, &service, 1);
    platform.begin("c-1").await;
    platform.say("c-1", "m-1", "Hello?").await;
    platform.until("c-1", |it| count(it, "ai.attempt", "m-1") == 1).await;
    signal(&instances.running[0], "STOP");
    service.otherwise(Act::Say(vec!["The second answer."]));
    let second = Instances::start(&platform, &service, 1);
    let answer = platform.answer("c-1", "m-1").await;
    assert_eq!(answer["response"], "The second answer.");
    signal(&instances.running[0], "CONT");
    // It finds its answer refused; then everything is acknowledged and nothing has been added.
    platform.settled().await;
    sleep(Duration::from_secs(3)).await;
    let events = platform.events("c-1").await;
    assert_eq!(count(&events, "ai.response", "m-1"), 1, "{events:#?}");
    drop(second);
}

fn signal(child: &Child, name: &str) {
    let process = child.id().to_string();
    let sent = std::process::Command::new("kill").args([&format!("-{name}"), &process]).status();
    assert!(sent.unwrap().success());
}

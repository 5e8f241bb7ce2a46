//! Teams that publish on NATS in other languages pass the same gate, with their own narrow rights.

use serde_json::{Value as Json, json};

use crate::checker::{Entry, History, Start, Value, hash};
use crate::clients::publisher::Kind;
use crate::clients::scripts::Script;
use crate::harness::cast::{agent, journey, source};
use crate::harness::{TENANT, TestPlatform};

#[derive(Clone, Copy)]
enum Language {
    Python,
    JavaScript,
}

impl Language {
    fn start(self, platform: &TestPlatform) -> Script {
        let url = format!("nats://{}", platform.nats.address);
        let team = &platform.nats.team;
        let environment =
            [("NATS_URL", &*url), ("NATS_SEED", &team.seed), ("NATS_INBOX", &team.inbox_prefix)];
        match self {
            Self::Python => Script::python("publish.py", &environment),
            Self::JavaScript => Script::node("publish.mjs", &environment),
        }
    }
}

fn message(value: &Value) -> Json {
    let id = value.to_string();
    json!({
        "subject": format!("publish.{TENANT}.team.7.activity"),
        "headers": {
            "ce-specversion": "1.0", "ce-id": id, "ce-source": "/crm", "ce-type": "team.activity",
            "content-type": "application/json", "Nats-Msg-Id": id,
        },
        "data": Kind::Team.data(value),
    })
}

/// Publishes one and takes the log's answer into the history.
async fn publish(script: &mut Script, history: &History, value: &Value) -> Json {
    let payload = Some(hash(&Kind::Team.data(value)));
    let channels = Kind::Team.channels();
    history.record(Entry::Attempt { value: value.clone(), channels, payload });
    script.tell(&message(value)).await;
    let answer = script.answer().await;
    history.record(Entry::Stored {
        value: value.clone(),
        stream: answer["stream"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned(),
        sequence: answer["sequence"].as_u64().unwrap(),
        duplicate: answer["duplicate"].as_bool().unwrap_or(false),
    });
    answer
}

async fn publish_as_a_team(language: Language) {
    journey(90, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut socket = agent(&history, "ann");
        socket.connect(platform.gateway()).await.unwrap();
        let mut events = source(&history, "bob", &["team"]);
        events.connect(platform.gateway(), Start::Now).await.unwrap();
        let mut script = language.start(&platform);
        for counter in 1..=10 {
            publish(&mut script, &history, &Value::new("crm", counter)).await;
        }
        socket.receive(10).await;
        events.receive(10).await;
        // Sent again: acknowledged again, stored once.
        let again = publish(&mut script, &history, &Value::new("crm", 10)).await;
        assert_eq!(again["duplicate"], true, "{again}");
        refusals(&mut script).await;
        script.finish();
        socket.drain().await;
        events.drain().await;
        let verdict = history.assert_clean();
        assert_eq!(verdict.ok, 10, "{verdict}");
        let quarantined = platform.admin().await.subjects("QUARANTINE").await;
        assert_eq!(quarantined.len(), 2, "{quarantined:?}");
        platform.finish().await;
    })
    .await;
}

/// What does not fit goes to quarantine; what is not the team's has no acknowledgement.
async fn refusals(script: &mut Script) {
    let good = message(&Value::new("elsewhere", 1));
    let mut unknown = good.clone();
    unknown["subject"] = json!(format!("publish.{TENANT}.team.7.nonsense"));
    unknown["headers"]["ce-type"] = json!("team.nonsense");
    unknown["headers"]["Nats-Msg-Id"] = json!("unknown-1");
    unknown["headers"]["ce-id"] = json!("unknown-1");
    let mut closed = good.clone();
    closed["subject"] = json!(format!("publish.{TENANT}.crisis.c-9.alert"));
    closed["headers"]["ce-type"] = json!("crisis.alert");
    closed["headers"]["Nats-Msg-Id"] = json!("closed-1");
    closed["headers"]["ce-id"] = json!("closed-1");
    for stored in [&unknown, &closed] {
        script.tell(stored).await;
        let answer = script.answer().await;
        assert_eq!(answer["stream"], "INBOX", "{answer}");
    }
    for subject in ["publish.globex.team.7.activity", "events.acme.team.7.activity"] {
        let mut foreign = good.clone();
        foreign["subject"] = json!(subject);
        script.tell(&foreign).await;
        let answer = script.answer().await;
        assert!(answer["error"].is_string(), "{subject}: {answer}");
    }
}

#[tokio::test]
async fn a_team_publishes_from_python() {
    publish_as_a_team(Language::Python).await;
}

#[tokio::test]
async fn a_team_publishes_from_javascript() {
    publish_as_a_team(Language::JavaScript).await;
}

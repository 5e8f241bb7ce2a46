//! Conversations with an AI over a real gateway: whoever comes back in the middle has the whole answer, what failed can
//! be asked again, and an AI that is slow, confused or lies costs nobody their help.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::checker::History;
use crate::clients::http::{Request, encode};
use crate::clients::socketio::{SocketIo, url};
use crate::clients::token::token;
use crate::harness::cast::journey;
use crate::harness::{Options, Service, TENANT, TestPlatform};
use crate::safety::{admin, talk, user, websocket};

mod model;

use model::{Act, Model};

/// A platform that asks this model, as an operator who offers it the tool for crises sets it up.
async fn platform(model: &Model) -> TestPlatform {
    let url = model.url();
    let options = Options::default()
        .with_ai()
        .set(Service::AiProxy, "AI_PROVIDER", "openai")
        .set(Service::AiProxy, "AI_SERVICE_URL", &url)
        .set(Service::AiProxy, "AI_MODEL", "small");
    TestPlatform::start_with(options).await
}

/// The next event of this name, without its cursor.
async fn payload(client: &mut SocketIo, name: &str) -> Json {
    client.event(name).await["args"][0].clone()
}

async fn say(client: &mut SocketIo, conversation: &str, id: &str, text: &str) {
    let said = json!([{ "conversationId": conversation, "message": text, "messageId": id }]);
    let answer = client.request("conversation:message", said).await;
    assert_eq!(answer["ok"], true, "{answer}");
}

/// What a channel holds, as an admin reads it.
async fn log_of(platform: &TestPlatform, channel: &str) -> Vec<Json> {
    let target = format!("/v1/history?channel={}&limit=1000", encode(channel));
    let request = Request::get(&target).bearer(&token(TENANT, "judge", "admin"));
    let page = request.send(platform.gateway()).await.unwrap().json();
    page["events"].as_array().unwrap_or_else(|| panic!("{page}")).clone()
}

fn of<'a>(log: &'a [Json], kind: &'a str) -> impl Iterator<Item = &'a Json> {
    log.iter().filter(move |event| event["type"] == kind)
}

/// An answer as a client puts its pieces together.
#[derive(Default)]
struct Text(Vec<u16>);

impl Text {
    fn join(&mut self, piece: &Json) {
        let offset = usize::try_from(piece["offset"].as_u64().unwrap()).unwrap();
        if offset <= self.0.len() {
            self.0.truncate(offset);
            self.0.extend(piece["text"].as_str().unwrap().encode_utf16());
        }
    }

    /// Takes pieces in until the text is this one.
    async fn complete(&mut self, client: &mut SocketIo, expected: &str) {
        while String::from_utf16_lossy(&self.0) != expected {
            self.join(&payload(client, "ai:response:delta").await);
        }
    }
}

#[tokio::test]
async fn whoever_comes_in_the_middle_of_an_answer_has_the_text_so_far_and_the_rest() {
    journey(120, async {
        let words: Vec<String> = (0..60).map(|at| format!("Wort{at} ü ")).collect();
        let whole = words.concat();
        let model = Model::start(Act::Say(words, Duration::from_millis(150))).await;
        let platform = platform(&model).await;
        let history = History::new();
        let mut ann = user(&history, "ann");
        ann.connect(platform.gateway(), websocket()).await;
        let conversation = talk(&mut ann).await;
        say(&mut ann, &conversation, "m-1", "I slept well.").await;
        let mut begun = Text::default();
        for _ in 0..5 {
            begun.join(&payload(&mut ann, "ai:response:delta").await);
        }
        // The same client, cut off; and another device that has seen nothing.
        ann.cut().await;
        ann.wait("disconnect").await;
        let mut phone = user(&history, "ann");
        phone.connect(platform.gateway(), websocket()).await;
        let channel = json!([format!("conversation:{conversation}")]);
        assert_eq!(phone.request("subscribe", channel).await["ok"], true);
        ann.tell(json!({ "op": "resume", "url": url(platform.gateway()) })).await;
        assert_eq!(ann.wait("connect").await["recovered"], true);
        let (mut all, mut rest) = (Text::default(), begun);
        all.complete(&mut phone, &whole).await;
        rest.complete(&mut ann, &whole).await;
        assert_eq!(payload(&mut phone, "conversation:state").await["state"], "speaking");
        for client in [&mut ann, &mut phone] {
            let answer = payload(client, "ai:response").await;
            assert_eq!((&answer["response"], &answer["messageId"]), (&json!(whole), &json!("m-1")));
        }
        assert_eq!(model.asked(), 1);
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_message_that_failed_is_answered_when_it_is_sent_again_and_then_no_more() {
    journey(120, async {
        let model = Model::start(Act::said("Here I am.")).await;
        model.next(Act::Refuse);
        let platform = platform(&model).await;
        let history = History::new();
        let mut ann = user(&history, "ann");
        ann.connect(platform.gateway(), websocket()).await;
        let conversation = talk(&mut ann).await;
        say(&mut ann, &conversation, "m-1", "Hello?").await;
        let failed = payload(&mut ann, "error").await;
        assert_eq!(failed["message"], "Failed to get AI response", "{failed}");
        assert_eq!(
            (&failed["messageId"], &failed["code"]),
            (&json!("m-1"), &json!("ai_unavailable"))
        );
        say(&mut ann, &conversation, "m-1", "Hello?").await;
        let answer = payload(&mut ann, "ai:response").await;
        assert_eq!((&answer["response"], &answer["attempt"]), (&json!("Here I am."), &json!(2)));
        // Once more it says nothing; what follows it shows that it was passed over.
        say(&mut ann, &conversation, "m-1", "Hello?").await;
        say(&mut ann, &conversation, "m-2", "And now?").await;
        assert_eq!(payload(&mut ann, "ai:response").await["messageId"], "m-2");
        assert_eq!(model.asked(), 3);
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn an_ai_that_is_slow_confused_or_lies_costs_nobody_their_alert() {
    journey(180, async {
        let model = Model::start(Act::said("All is well.")).await;
        let platform = platform(&model).await;
        let history = History::new();
        let mut boss = admin(&history, "boss");
        boss.connect(platform.gateway(), websocket()).await;
        let mut ann = user(&history, "ann");
        ann.connect(platform.gateway(), websocket()).await;
        let garbage = r#"{"severity":["?"],"signals":[1,null,{"a":{}},["x"],true]}"#;
        for (act, text, severity) in [
            // It says that nothing is the matter, at once.
            (Act::said("All is well."), "I want to die", "high"),
            (Act::Hang, "I want to die", "high"),
            (
                Act::Raw("data: {]}\n\n\u{0}\u{1}\n\n"),
                "I am going to kill myself tonight",
                "imminent",
            ),
            // It reports what no alert could hold, and repeats itself.
            (Act::Crisis(vec![garbage.to_owned(), garbage.to_owned()]), "Hello.", "imminent"),
        ] {
            model.next(act.clone());
            let conversation = talk(&mut ann).await;
            say(&mut ann, &conversation, "m-1", text).await;
            let told = payload(&mut ann, "safety:state_change").await;
            assert_eq!(told["state"], "crisis", "{act:?}: {told}");
            assert!(!told["resources"].as_array().unwrap().is_empty(), "{act:?}: {told}");
            let alert = payload(&mut boss, "crisis:alert").await;
            let about = (&alert["conversationId"], &alert["severity"]);
            assert_eq!(about, (&json!(conversation), &json!(severity)), "{act:?}: {alert}");
            let answer = payload(&mut ann, "ai:response").await;
            assert_eq!(answer["conversationId"], conversation, "{act:?}: {answer}");
            let alerts = log_of(&platform, "admin").await;
            let raised: Vec<_> = of(&alerts, "crisis.alert")
                .filter(|it| it["data"]["conversationId"] == conversation)
                .collect();
            let said = log_of(&platform, &format!("conversation:{conversation}")).await;
            let answered: Vec<_> = of(&said, "ai.response").collect();
            assert_eq!((raised.len(), answered.len()), (1, 1), "{act:?}: {raised:?}");
            let (raised, answered) = (raised[0]["time"].as_str(), answered[0]["time"].as_str());
            assert!(raised.unwrap() <= answered.unwrap(), "{act:?}: {raised:?} {answered:?}");
        }
        assert_eq!(boss.unread("crisis:alert"), 0);
        platform.finish().await;
    })
    .await;
}

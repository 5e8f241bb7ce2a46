//! Each provider against a service on a bad day.

use std::time::Duration;

use ai_proxy::providers::{
    Answer, Deadlines, Endpoint, Ezri, Failure, Models, OpenAi, Provider, Question, Reason,
    Speaker, Speech, Turn,
};
use runtime::config::Secret;
use runtime::http_client::{Client, Limits};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::sick_service::{Act, SickService};

const DEADLINES: Deadlines = Deadlines {
    connect: Duration::from_millis(500),
    first: Duration::from_millis(500),
    idle: Duration::from_millis(500),
    total: Duration::from_millis(1500),
};

fn endpoint(base: &str) -> Endpoint {
    endpoint_with(base, DEADLINES)
}

fn endpoint_with(base: &str, deadlines: Deadlines) -> Endpoint {
    let limits = Limits { deadline: DEADLINES.connect, ..Limits::default() };
    let client = Client::new(limits).unwrap();
    Endpoint::new(client, base, Some(Secret::new("hush")), deadlines)
}

fn openai(base: &str) -> OpenAi {
    let models = Models { chat: Some("small".into()), ..Models::default() };
    OpenAi::new(endpoint(base), models)
}

fn question() -> Question {
    Question {
        conversation: "c-9".into(),
        user: "7".into(),
        message: "m-1".into(),
        request_id: "r-1".into(),
        idempotency_key: "k-1".into(),
        text: "I slept well.".into(),
        system: "Listen.".into(),
        history: vec![Turn { speaker: Speaker::Ai, text: "How are you?".into() }],
        crisis_text: "Help.".into(),
    }
}

fn speech() -> Speech {
    Speech {
        conversation: "c-9".into(),
        chunk: "v-1".into(),
        request_id: "r-1".into(),
        sound: "noise".into(),
    }
}

/// The answer, and the pieces that came before it.
async fn ask(provider: &dyn Provider) -> (Result<Answer, Failure>, Vec<String>) {
    let (pieces, mut heard) = mpsc::channel(1024);
    let answer = provider.answer(&question(), &pieces).await;
    heard.close();
    let mut all = Vec::new();
    while let Some(piece) = heard.recv().await {
        all.push(piece);
    }
    (answer, all)
}

async fn failure(act: Act) -> Reason {
    let service = SickService::start(act.clone()).await;
    let begun = Instant::now();
    let (answer, _) = ask(&openai(&service.url())).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{act:?} took {:?}", begun.elapsed());
    answer.err().unwrap_or_else(|| panic!("{act:?} gave an answer")).reason
}

#[tokio::test]
async fn a_streamed_answer_comes_in_its_pieces_and_as_a_whole() {
    let service = SickService::start(Act::Say(vec!["Good ", "to ", "hear."])).await;
    let (answer, pieces) = ask(&openai(&format!("{}/v1/", service.url()))).await;
    let answer = answer.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(pieces, ["Good ", "to ", "hear."]);
    assert_eq!(answer.object["response"], "Good to hear.");
    assert_eq!((answer.usage.prompt, answer.usage.completion), (10, 4));
    let asked = &service.asked()[0];
    assert!(asked.head.starts_with("post /v1/chat/completions "), "{}", asked.head);
    assert!(asked.head.contains("authorization: bearer hush"), "{}", asked.head);
    let roles: Vec<_> = asked.json()["messages"].as_array().unwrap().clone();
    assert_eq!(roles[0], json!({ "role": "system", "content": "Listen." }));
    assert_eq!(roles[1]["role"], "assistant");
    assert_eq!(roles[2], json!({ "role": "user", "content": "I slept well." }));
}

#[tokio::test]
async fn a_server_that_does_not_stream_is_understood_too() {
    let whole =
        json!({ "choices": [{ "message": { "content": "Whole." }, "finish_reason": "stop" }] });
    let service = SickService::start(Act::Whole(whole)).await;
    let (answer, _) = ask(&openai(&service.url())).await;
    let answer = answer.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(answer.text, "Whole.");
    assert!(answer.usage.estimated);
}

#[tokio::test]
async fn a_service_that_hangs_is_left_in_time() {
    assert_eq!(failure(Act::Hang).await, Reason::Timeout);
    assert_eq!(failure(Act::HangInside).await, Reason::Timeout);
    assert_eq!(failure(Act::Drip).await, Reason::Timeout);
    let pause = Duration::from_millis(300);
    assert_eq!(failure(Act::Slowly(vec!["a "; 40], pause)).await, Reason::Overlong);
    let stalls = Act::Slowly(vec!["a", "b"], Duration::from_millis(450));
    let service = SickService::start(stalls).await;
    assert!(ask(&openai(&service.url())).await.0.is_ok(), "slow is not stalled");
}

#[tokio::test]
async fn each_bad_status_is_a_failure_of_its_own() {
    assert_eq!(failure(Act::Status(500, "")).await, Reason::Unavailable);
    assert_eq!(failure(Act::Status(401, "")).await, Reason::Refused);
    let service = SickService::start(Act::Status(429, "retry-after: 3\r\n")).await;
    let (answer, _) = ask(&openai(&service.url())).await;
    let failure = answer.err().unwrap();
    assert_eq!(failure.reason, Reason::RateLimited);
    assert_eq!(failure.retry_after, Some(Duration::from_secs(3)));
}

#[tokio::test]
async fn a_stream_that_ends_before_its_end_or_with_an_error_is_a_failure() {
    assert_eq!(failure(Act::BreakOff(vec!["Well, "])).await, Reason::Truncated);
    assert_eq!(failure(Act::ErrorInside).await, Reason::Interrupted);
    assert_eq!(failure(Act::Raw("data: {\"choices\":[{\n\n")).await, Reason::Malformed);
    assert_eq!(failure(Act::Raw("data: {\"choices\":null}\n\n")).await, Reason::Empty);
}

#[tokio::test]
async fn an_end_mark_counts_without_the_empty_line_behind_it() {
    let said = "data: {\"choices\":[{\"delta\":{\"content\":\"Well.\"}}]}\n\ndata: [DONE]";
    let service = SickService::start(Act::RawEnd(said)).await;
    let (answer, _) = ask(&openai(&service.url())).await;
    assert_eq!(answer.unwrap_or_else(|failure| panic!("{failure}")).text, "Well.");
    let cut = "data: {\"choices\":[{\"delta\":{\"content\":\"Well.\"}}]}\n\ndata: [DON";
    assert_eq!(failure(Act::RawEnd(cut)).await, Reason::Truncated);
}

#[tokio::test]
async fn sound_of_several_megabytes_is_taken() {
    use base64::Engine as _;
    let sound = vec![7u8; 3 << 20];
    let encoded = base64::engine::general_purpose::STANDARD.encode(&sound);
    let told = json!({ "transcription": "Yes.", "audioResponse": encoded });
    let service = SickService::start(Act::Whole(told)).await;
    let speech = speech();
    let endpoint = endpoint_with(&service.url(), Deadlines::default());
    let heard = Ezri::new(endpoint).hear(&speech).await;
    let heard = heard.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(heard.reply.unwrap().data.len(), sound.len());
    // The same service's texts are bounded as before.
    service.otherwise(Act::Whole(json!({ "response": "x".repeat(3 << 20) })));
    let endpoint = endpoint_with(&service.url(), Deadlines::default());
    let (answer, _) = ask(&Ezri::new(endpoint)).await;
    assert_eq!(answer.err().unwrap().reason, Reason::TooLarge);
}

#[tokio::test]
async fn a_body_of_a_hundred_megabytes_is_not_taken_in() {
    // With time enough: the size is what ends it.
    let service = SickService::start(Act::Flood(100 << 20)).await;
    let endpoint = || endpoint_with(&service.url(), Deadlines::default());
    let (answer, _) = ask(&OpenAi::new(endpoint(), Models::default())).await;
    assert_eq!(answer.err().unwrap().reason, Reason::TooLarge);
    let (answer, _) = ask(&Ezri::new(endpoint())).await;
    assert_eq!(answer.err().unwrap().reason, Reason::TooLarge);
}

#[tokio::test]
async fn a_redirect_leads_nowhere() {
    let elsewhere = SickService::start(Act::Say(vec!["Gotcha."])).await;
    let to: &'static str = format!("{}/v1/chat/completions", elsewhere.url()).leak();
    assert_eq!(failure(Act::Redirect(to)).await, Reason::Redirected);
    let link_local = "http://169.254.169.254/latest/meta-data/";
    assert_eq!(failure(Act::Redirect(link_local)).await, Reason::Redirected);
    assert!(elsewhere.asked().is_empty());
}

#[tokio::test]
async fn nobody_there_is_told_soon() {
    let (answer, _) = ask(&openai("http://127.0.0.1:1")).await;
    assert_eq!(answer.err().unwrap().reason, Reason::Unreachable);
}

#[tokio::test]
async fn the_service_of_application_001_is_asked_and_read_as_it_is() {
    let told = json!({ "response": "You are not alone.", "crisis_detected": true, "severity": "high",
        "detected_signals": ["plan"], "safety_state": "crisis", "resources": ["988"], "mood": 3 });
    let service = SickService::start(Act::Whole(told.clone())).await;
    let (answer, pieces) = ask(&Ezri::new(endpoint(&service.url()))).await;
    let answer = answer.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(serde_json::Value::Object(answer.object), told);
    assert!(pieces.is_empty());
    let asked = &service.asked()[0];
    assert!(asked.head.starts_with("post /api/v1/conversation "), "{}", asked.head);
    let expected = json!({ "userId": "7", "conversationId": "c-9", "message": "I slept well." });
    assert_eq!(asked.json(), expected);
    service.otherwise(Act::Whole(json!({ "foo": [1, 2, 3] })));
    let (answer, _) = ask(&Ezri::new(endpoint(&service.url()))).await;
    assert_eq!(answer.err().unwrap().reason, Reason::Empty);
    service.otherwise(Act::Whole(json!({ "crisis_detected": true, "severity": "high" })));
    let (answer, _) = ask(&Ezri::new(endpoint(&service.url()))).await;
    let answer = answer.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!((&*answer.text, &answer.object["severity"]), ("Help.", &json!("high")));
    service.otherwise(Act::Whole(json!(["no", "object"])));
    let (answer, _) = ask(&Ezri::new(endpoint(&service.url()))).await;
    assert_eq!(answer.err().unwrap().reason, Reason::Malformed);
}

#[tokio::test]
async fn speech_becomes_text_and_sound() {
    let told = json!({ "transcription": "I slept well.", "audioResponse": "AAEC" });
    let service = SickService::start(Act::Whole(told)).await;
    let speech = speech();
    let heard = Ezri::new(endpoint(&service.url())).hear(&speech).await;
    let heard = heard.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(heard.text, "I slept well.");
    assert_eq!(&heard.reply.unwrap().data[..], [0, 1, 2]);
    let asked = &service.asked()[0];
    assert!(asked.head.starts_with("post /api/v1/voice/process "), "{}", asked.head);
    assert_eq!(asked.body, b"noise");
    service.otherwise(Act::Whole(json!({ "text": "Hello." })));
    let models = Models { transcription: Some("ears".into()), ..Models::default() };
    let heard = OpenAi::new(endpoint(&service.url()), models).hear(&speech).await;
    assert_eq!(heard.unwrap_or_else(|failure| panic!("{failure}")).text, "Hello.");
    let asked = &service.asked()[1];
    assert!(asked.head.starts_with("post /v1/audio/transcriptions "), "{}", asked.head);
    let body = String::from_utf8_lossy(&asked.body).into_owned();
    assert!(body.contains("name=\"model\"\r\n\r\nears\r\n") && body.contains("noise"), "{body}");
}

#[tokio::test]
async fn a_crisis_that_was_told_before_a_failure_comes_with_it() {
    let reported = |answer: Result<Answer, Failure>, reason: Reason| {
        let failure = answer.err().unwrap();
        assert_eq!(failure.reason, reason);
        failure.crisis.map(|crisis| crisis.0["severity"].clone())
    };
    let call = "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":\
        {\"name\":\"report_crisis\",\"arguments\":\"{\\\"severity\\\":\\\"high\\\"}\"}}]}}]}\n\n";
    let service = SickService::start(Act::RawEnd(call)).await;
    let (answer, _) = ask(&openai(&service.url())).await;
    assert_eq!(reported(answer, Reason::Truncated), Some(json!("high")));
    service.otherwise(Act::Raw(format!("{call}data: {{\"error\":{{}}}}\n\n").leak()));
    let (answer, _) = ask(&openai(&service.url())).await;
    assert_eq!(reported(answer, Reason::Interrupted), Some(json!("high")));
    service.otherwise(Act::BreakOff(vec!["Well, "]));
    let (answer, _) = ask(&openai(&service.url())).await;
    assert_eq!(reported(answer, Reason::Truncated), None, "nothing was told");
    for (field, length) in [("response", 50_000), ("notes", 600_000)] {
        let told = json!({ "crisis_detected": 1, "severity": "high", field: "x".repeat(length) });
        service.otherwise(Act::Whole(told));
        let endpoint = endpoint_with(&service.url(), Deadlines::default());
        let (answer, _) = ask(&Ezri::new(endpoint)).await;
        assert_eq!(reported(answer, Reason::TooLarge), Some(json!("high")), "{field}");
    }
}

use std::collections::HashMap;

use domain::replay::quarantine::{
    ItemRequest, ListAnswer, ListRequest, RedriveAnswer, ShowAnswer, header,
};
use domain::replay::{Answer, question};
use domain::{Tenant, Token, subject};
use runtime::event_log::Append;
use runtime::tasks::owned;
use runtime::test_support::TestNats;
use serde_json::json;

use crate::support::{Node, World, eventually};

async fn quarantine(world: &World, tenant: &str, origin: &str, payload: &'static [u8]) -> String {
    let (tenant, origin) = (Tenant::parse(tenant).unwrap(), Token::parse(origin).unwrap());
    let append = Append {
        subject: subject::quarantine(&tenant, &origin),
        message_id: runtime::ids::ordered(),
        headers: vec![
            (header::REASON, "CallSid is missing".to_owned()),
            (header::SOURCE, "acme-twilio".to_owned()),
        ],
        payload: payload.into(),
        expect: None,
    };
    world.ingest.event_log().append(append).await.unwrap().sequence.to_string()
}

async fn list(world: &World, tenant: &str, request: ListRequest, count: usize) -> ListAnswer {
    eventually(async || match world.ask(tenant, question::QUARANTINE_LIST, &request).await {
        Answer::Ok(answer) => Some(answer).filter(|a: &ListAnswer| a.items.len() == count),
        Answer::Refused { code, message } => {
            assert_eq!(code, "not_ready", "{message}");
            None
        }
    })
    .await
}

fn ids(answer: &ListAnswer) -> Vec<&str> {
    answer.items.iter().map(|item| item.id.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_quarantined_is_listed_to_its_tenant_and_shown_on_request() {
    let nats = TestNats::start().await;
    let world = World::new(&nats).await;
    let early = quarantine(&world, "acme", "twilio", b"CallStatus=what").await;
    let node = Node::start(&nats).await;
    let foreign = quarantine(&world, "ezri", "twilio", b"not yours").await;
    let late = quarantine(&world, "acme", "whatsapp", b"\xff\x00").await;

    let all = ListRequest { limit: 10, ..ListRequest::default() };
    let answer = list(&world, "acme", all.clone(), 2).await;
    assert_eq!(ids(&answer), [early.as_str(), late.as_str()]);
    let item = &answer.items[0];
    assert_eq!((item.origin.as_str(), item.source.as_str()), ("twilio", "acme-twilio"));
    assert_eq!((item.reason.as_str(), item.size), ("CallSid is missing", 15));
    let first = list(&world, "acme", ListRequest { limit: 1, ..all.clone() }, 1).await;
    assert!(first.more && ids(&first) == [early.as_str()]);
    let rest = ListRequest { after: Some(early.clone()), ..all.clone() };
    assert_eq!(ids(&list(&world, "acme", rest, 1).await), [late.as_str()]);
    let one_origin = ListRequest { origin: Some("twilio".into()), ..all };
    assert_eq!(ids(&list(&world, "acme", one_origin, 1).await), [early.as_str()]);

    let asked = ItemRequest { id: early };
    let Answer::<ShowAnswer>::Ok(shown) =
        world.ask("acme", question::QUARANTINE_SHOW, &asked).await
    else {
        panic!("refused");
    };
    assert_eq!(shown.payload.as_deref(), Some("CallStatus=what"));
    let asked = ItemRequest { id: foreign };
    let refused: Answer<ShowAnswer> = world.ask("acme", question::QUARANTINE_SHOW, &asked).await;
    assert!(matches!(refused, Answer::Refused { code, .. } if code == "not_found"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_hands_the_message_to_ingest_and_is_remembered_when_accepted() {
    let nats = TestNats::start().await;
    let world = World::new(&nats).await;
    let node = Node::start(&nats).await;
    let good = quarantine(&world, "acme", "twilio", b"good").await;
    let bad = quarantine(&world, "acme", "twilio", b"bad").await;
    list(&world, "acme", ListRequest { limit: 10, ..ListRequest::default() }, 2).await;

    let target = subject::redrive(&Tenant::parse("acme").unwrap());
    let mut server = world.ingest.serve(&target, "ingest").await.unwrap();
    let _ingest = owned(async move {
        while let Some(request) = server.next().await {
            let told: HashMap<&str, &str> = request.headers.iter().collect();
            assert_eq!(told["Nats-Subject"], "quarantine.acme.twilio");
            let answer = match &request.payload[..] {
                b"good" => json!({"ok": {"stored": told[header::SOURCE]}}),
                _ => json!({"refused": {"code": "invalid", "message": "still no CallSid"}}),
            };
            request.respond(answer.to_string().into()).await.unwrap();
        }
    });
    let redrive = async |tenant: &str, id: &str| -> Answer<RedriveAnswer> {
        let asked = ItemRequest { id: id.to_owned() };
        world.ask(tenant, question::QUARANTINE_REDRIVE, &asked).await
    };
    let accepted = eventually(async || {
        Some(redrive("acme", &good).await).filter(|answer| matches!(answer, Answer::Ok(_)))
    })
    .await;
    let Answer::Ok(RedriveAnswer { result }) = accepted else { panic!("refused") };
    assert_eq!(result, json!({"stored": "acme-twilio"}));
    let refused = redrive("acme", &bad).await;
    assert!(matches!(refused, Answer::Refused { code, .. } if code == "invalid"));
    let foreign = redrive("ezri", &good).await;
    assert!(matches!(foreign, Answer::Refused { code, .. } if code == "not_found"));

    let listed = list(&world, "acme", ListRequest { limit: 10, ..ListRequest::default() }, 2).await;
    let redriven: Vec<bool> = listed.items.iter().map(|item| item.redriven_at.is_some()).collect();
    assert_eq!(redriven, [true, false]);
    node.stop().await;
}

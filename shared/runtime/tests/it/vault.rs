//! The keys of people's data over two services.

use std::time::Duration;

use bytes::Bytes;
use domain::protection::{ERASED, Subject, WrappingKeys, seal};
use domain::{Tenant, Token};
use runtime::ops::Readiness;
use runtime::tasks::{BoxError, Owned, owned};
use runtime::test_support::TestNats;
use runtime::vault::{Destroyed, Rewrapped, Vault};
use tokio_util::sync::CancellationToken;

fn person(id: &str) -> Subject {
    Subject::new(&Tenant::parse("acme").unwrap(), &Token::parse("user").unwrap(), id)
}

async fn vault(server: &TestNats, user: &str) -> (Vault, Owned<Result<(), BoxError>>) {
    let nats = server.nats(user).await;
    let vault = Vault::new(&nats, WrappingKeys::new(b"the platform's key", None));
    let readiness = Readiness::new();
    let (current, test) = (readiness.condition("keys"), readiness.condition("test"));
    let following = owned(vault.clone().follow(current, CancellationToken::new()));
    tokio::time::timeout(Duration::from_secs(5), readiness.others(&test)).await.unwrap();
    (vault, following)
}

async fn until(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), waiting).await.expect("it happens soon");
}

#[tokio::test]
async fn a_key_is_made_once_and_known_to_every_service() {
    let server = TestNats::start().await;
    let (gateway, _g) = vault(&server, "gateway").await;
    let (ingest, _i) = vault(&server, "ingest").await;
    assert_eq!(gateway.key(&person("7")).await.unwrap(), None);
    let seven = person("7");
    let (mine, yours) = tokio::join!(gateway.key_to_seal(&seven), ingest.key_to_seal(&seven));
    assert_eq!(mine.unwrap(), yours.unwrap());
    let (ai, _a) = vault(&server, "ai-proxy").await;
    until(|| ai.known(&person("7")).is_some()).await;
    assert_eq!(ai.known(&person("7")), gateway.known(&person("7")));
}

#[tokio::test]
async fn a_destroyed_key_is_gone_everywhere_and_never_comes_back() {
    let server = TestNats::start().await;
    let (gateway, _g) = vault(&server, "gateway").await;
    let (ai, _a) = vault(&server, "ai-proxy").await;
    let old = gateway.key_to_seal(&person("7")).await.unwrap();
    until(|| ai.known(&person("7")).is_some()).await;
    let mut told = ai.destroyed();
    assert_eq!(gateway.destroy(&person("7")).await.unwrap(), Destroyed::Now);
    until(|| ai.known(&person("7")).is_none()).await;
    assert!(told.has_changed().unwrap());
    told.mark_unchanged();
    assert_eq!(gateway.known(&person("7")), None);
    assert_eq!(gateway.destroy(&person("7")).await.unwrap(), Destroyed::NothingThere);
    // Somebody who comes back is sealed with another key.
    assert_ne!(gateway.key_to_seal(&person("7")).await.unwrap(), old);
}

#[tokio::test]
async fn keys_are_wrapped_anew_under_a_new_platform_key_and_destroyed_ones_stay_destroyed() {
    let server = TestNats::start().await;
    let nats = server.nats("ingest").await;
    let with = |new: &[u8], old: Option<&[u8]>| Vault::new(&nats, WrappingKeys::new(new, old));
    let before = with(b"old", None);
    let seven = before.key_to_seal(&person("7")).await.unwrap();
    before.key_to_seal(&person("8")).await.unwrap();
    before.destroy(&person("8")).await.unwrap();
    let rotating = with(b"new", Some(b"old"));
    let nine = rotating.key_to_seal(&person("9")).await.unwrap();
    let (one, another) = (with(b"new", Some(b"old")), with(b"new", Some(b"old")));
    let (here, there) = tokio::join!(one.rewrap(), another.rewrap());
    let (here, there) = (here.unwrap(), there.unwrap());
    assert_eq!((here.anew + there.anew, here.unreadable + there.unreadable), (1, 0));
    assert_eq!(rotating.rewrap().await.unwrap(), Rewrapped::default());

    let after = with(b"new", None);
    assert_eq!(after.key(&person("7")).await.unwrap(), Some(seven));
    assert_eq!(after.key(&person("8")).await.unwrap(), None);
    assert_eq!(after.key(&person("9")).await.unwrap(), Some(nine));
    let stranger = with(b"another", Some(b"yet another")).rewrap().await.unwrap();
    assert_eq!(stranger, Rewrapped { anew: 0, unreadable: 2 });
}

#[tokio::test]
async fn a_message_that_overtakes_the_news_of_its_key_is_opened() {
    let server = TestNats::start().await;
    let vault = async |user: &str| {
        Vault::new(&server.nats(user).await, WrappingKeys::new(b"the platform's key", None))
    };
    // Neither watches the bucket, so no news ever comes in time.
    let (gateway, ai) = (vault("gateway").await, vault("ai-proxy").await);
    let seven = person("7");
    let message = async || {
        let key = gateway.key_to_seal(&seven).await.unwrap();
        let text = seal(&key, &seven, &"help me".into(), [1; 12]);
        Bytes::from(serde_json::json!({ "message": text }).to_string())
    };
    let read = async |json: &Bytes| {
        ai.prepare(&seven.tenant, json).await.unwrap();
        String::from_utf8(ai.open(&seven.tenant, json).to_vec()).unwrap()
    };
    let first = message().await;
    assert!(read(&first).await.contains("help me"));
    gateway.destroy(&seven).await.unwrap();
    // The key that is known is the old one.
    let second = message().await;
    assert!(read(&second).await.contains("help me"));
    assert!(read(&first).await.contains(ERASED));
    gateway.destroy(&seven).await.unwrap();
    // What the known key does not open has it ask; from then on it knows that there is none.
    assert!(read(&first).await.contains(ERASED));
    assert!(read(&second).await.contains(ERASED));
    assert!(read(&message().await).await.contains("help me"));
    assert!(read(&second).await.contains(ERASED), "what was erased stays so");
}

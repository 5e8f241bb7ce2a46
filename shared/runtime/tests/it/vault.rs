//! The keys of people's data over two services.

use std::time::Duration;

use domain::protection::{Subject, WrappingKeys};
use domain::{Tenant, Token};
use runtime::ops::Readiness;
use runtime::tasks::{BoxError, Owned, owned};
use runtime::test_support::TestNats;
use runtime::vault::{Destroyed, Vault};
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

//! Files are read again when the process is told to.

use std::time::Duration;

use runtime::auth::{Authenticator, Settings};
use runtime::config::Reader;
use runtime::http_client::{Client, Limits};
use runtime::tasks::owned;
use tokio::process::Command;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

fn entry(origin: &str) -> String {
    format!(
        "[[application]]\nname = 'acme'\ntenant = 'acme'\nkey = {{ secret = 's' }}\norigins = ['{origin}']\n"
    )
}

async fn hang_up() {
    let own = std::process::id().to_string();
    let status = Command::new("kill").args(["-HUP", &own]).status().await.unwrap();
    assert!(status.success());
}

/// Waits until the origin is allowed or not, sending the signal again since it may come before anybody listens.
async fn until_allowed(authenticator: &Authenticator, origin: &str) {
    let reached = async {
        while !authenticator.origins().allows(Some(origin)) {
            hang_up().await;
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(5), reached).await.expect("the file was not read again");
}

#[tokio::test]
async fn a_hangup_reads_the_file_again_and_live_connections_are_told() {
    // The process must survive a signal that comes before the task listens.
    let _caught = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), entry("https://one.example")).unwrap();
    let given = [("APPLICATIONS_FILE", file.path().to_str().unwrap())];
    let mut reader = Reader::new(&given);
    let settings = Settings::read(&mut reader);
    let settings = reader.finish(settings).unwrap();
    let client = Client::new(Limits::default()).unwrap();
    let authenticator = Authenticator::new(settings, &client);
    let stop = CancellationToken::new();
    let running = owned(authenticator.clone().run(stop.clone()));

    let changes = authenticator.changes();
    std::fs::write(file.path(), entry("https://two.example")).unwrap();
    until_allowed(&authenticator, "https://two.example").await;
    assert!(!authenticator.origins().allows(Some("https://one.example")));
    assert!(changes.has_changed().unwrap());

    stop.cancel();
    running.join().await.unwrap().unwrap();
}

//! The commands that need no running platform, and how they refuse.

use crate::program::Folder;

#[test]
fn wrong_usage_is_2_and_wrong_configuration_64() {
    let folder = Folder::new();
    assert_eq!(folder.run(&["publish"]).status.code(), Some(2));
    assert_eq!(folder.run(&["streams", "check"]).status.code(), Some(64));
    let output =
        folder.command(&["up"]).env("NATS_PORT", "many").env("OPS_PORT_BASE", "x").output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(64));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("NATS_PORT:") && told.contains("OPS_PORT_BASE:"), "{told}");
}

#[test]
fn without_a_platform_the_way_to_start_one_is_told() {
    let output = Folder::new().run(&["token"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("throughline up"));
}

#[test]
fn a_token_carries_what_was_asked_for() {
    let folder = Folder::new();
    folder.succeed(&["secrets"]);
    let token = folder.succeed(&[
        "token",
        "agent",
        "--user",
        "42",
        "--tenant",
        "acme",
        "--channels",
        "x:*",
    ]);
    let claims = claims(token.trim());
    assert_eq!(claims["sub"], "42");
    assert_eq!(claims["tenant"], "acme");
    assert_eq!(claims["role"], "agent");
    assert_eq!(claims["channels"][0], "x:*");
    let all: serde_json::Value =
        serde_json::from_str(&folder.succeed(&["token", "--json"])).unwrap();
    assert!(["user", "agent", "admin", "service"].iter().all(|role| all[role].is_string()));
}

fn claims(token: &str) -> serde_json::Value {
    use base64::Engine as _;
    let part = token.split('.').nth(1).unwrap();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn every_shell_gets_its_completions() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(folder.succeed(&["completions", shell]).contains("quarantine"), "{shell}");
    }
}

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
fn every_mistake_of_the_platform_is_told_at_once_and_nothing_is_made() {
    let folder = Folder::new();
    let wrong = [
        ("GATEWAY_LISTEN", "here"),
        ("LOG_FORMAT", "loud"),
        ("STRICT_DURABILITY", "perhaps"),
        ("CATALOGUE_DIR", "/nowhere"),
        ("HEARTBEAT_MS", "0"),
        ("INGEST_IN_FLIGHT", "0"),
        ("AI_PROVIDER", "magic"),
        ("TLS_CERT_FILE", "/nowhere/a"),
        ("TLS_KEY_FILE", "/nowhere/b"),
    ];
    let output = folder.command(&["up"]).envs(wrong).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    let told = String::from_utf8(output.stderr).unwrap();
    for (name, _) in wrong {
        let lines = told.lines().filter(|line| line.starts_with(name));
        assert_eq!(lines.count(), 1, "{name} in {told}");
    }
    assert!(!folder.data().exists());
}

#[test]
fn an_empty_folder_of_the_environment_is_none() {
    let folder = Folder::new();
    let made = folder.command(&["secrets", "--data", "x"]).env("THROUGHLINE_DATA", "").output();
    let made = made.unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let token = folder.command(&["token"]).env("THROUGHLINE_DATA", "").output().unwrap();
    let told = String::from_utf8(token.stderr).unwrap();
    assert!(told.contains(".throughline holds no platform"), "{told}");
}

#[test]
fn a_tail_that_never_connects_says_why_and_ends() {
    let folder = Folder::new();
    let tail = |gateway: &str| {
        let output = folder.run(&["tail", "calls", "--token", "x", "--gateway", gateway]);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, told) = tail("foo");
    assert_eq!((code, told.contains("\"foo\" is no http or https address")), (Some(2), true));
    let (code, told) = tail("http://127.0.0.1:1");
    assert_eq!(code, Some(1));
    let last = told.lines().last().unwrap();
    assert!(last.contains("could not be reached") && !last.contains("going on"), "{told}");
}

#[test]
fn without_a_platform_the_way_to_start_one_is_told() {
    let output = Folder::new().run(&["token"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("throughline up"));
}

#[test]
fn a_mistake_is_told_before_a_server_is_looked_for() {
    let folder = Folder::new();
    let mut check = folder.command(&["streams", "check"]);
    check.env("NATS_URL", "nats://127.0.0.1:1").env("STRICT_DURABILITY", "perhaps");
    let output = check.output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("STRICT_DURABILITY: \"perhaps\" is neither 1 (true, yes, on)"), "{told}");
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

/// A server with our users and rights that syncs its files only now and then.
fn lazy_server(folder: &Folder) -> (Server, String) {
    folder.succeed(&["secrets"]);
    let declared = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../nats");
    let nats = folder.data().join("lazy");
    std::fs::create_dir(&nats).unwrap();
    std::fs::copy(declared.join("users.conf"), nats.join("users.conf")).unwrap();
    let conf = std::fs::read_to_string(declared.join("nats.conf")).unwrap();
    let lazy = conf.replace("sync_interval: \"10ms\"", "sync_interval: \"2m\"");
    assert_ne!(lazy, conf);
    std::fs::write(nats.join("nats.conf"), lazy).unwrap();
    let secrets = folder.data().join("secrets");
    let passwords = std::fs::read_to_string(secrets.join("nats.env")).unwrap();
    let passwords =
        passwords.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
    let binary = runtime::nats_binary::find_or_fetch(&runtime::config::Environment).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let child = std::process::Command::new(binary)
        .arg("--config")
        .arg(nats.join("nats.conf"))
        .envs(passwords)
        .env("NATS_SERVER_NAME", "lazy")
        .env("NATS_LISTEN", &address)
        .env("NATS_HTTP", "127.0.0.1:-1")
        .env("NATS_STORE_DIR", nats.join("store"))
        .env("NATS_MAX_FILE_STORE", "64GB")
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    (Server(child), format!("nats://{address}"))
}

struct Server(std::process::Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _waited = self.0.wait();
    }
}

#[test]
fn who_may_not_connect_is_told_so_at_once_and_where_to_look() {
    let folder = Folder::new();
    let (_server, url) = lazy_server(&folder);
    let told = |arguments: &[&str], url: &str| {
        let mut command = folder.command(arguments);
        command.env("GATEWAY_LISTEN", "127.0.0.1:0").env("INGEST_LISTEN", "127.0.0.1:0");
        let output = command.env("NATS_URL", url).env("OPS_PORT_BASE", "0").output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        // One line: not one for each attempt.
        assert_eq!(told.lines().count(), 1, "{told}");
        told
    };
    let wrong = url.replace("://", "://admin:wrong@");
    for arguments in [&["streams", "check"][..], &["up"]] {
        let refused = told(arguments, &wrong);
        assert!(refused.contains("refused the user or the password; see NATS_URL"), "{refused}");
        assert!(!refused.contains("wrong@"), "{refused}");
        let unnamed = told(arguments, &url);
        assert!(
            unnamed.contains("asks for a user and a password; the URL names none"),
            "{unnamed}"
        );
    }
}

#[test]
fn a_server_that_syncs_too_seldom_is_told_loudly_and_refused_before_anything_is_made() {
    let folder = Folder::new();
    let (_server, url) = lazy_server(&folder);
    let streams = |arguments: &[&str], strict: &str| {
        let mut command = folder.command(&[&["streams"], arguments].concat());
        command.env("NATS_URL", &url).env("STRICT_DURABILITY", strict);
        command.env("NATS_CREDS", folder.data().join("secrets/nats-admin"));
        let output = command.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), told, String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, told, _) = streams(&["apply"], "1");
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("STRICT_DURABILITY") && told.contains("120s"), "{told}");
    assert!(!told.contains('\u{1b}'), "colours for no terminal: {told:?}");
    let (_, _, found) = streams(&["check", "--json"], "");
    assert!(found.contains("\"missing\"") && !found.contains("as declared"), "{found}");
    let (code, told, _) = streams(&["apply"], "");
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("DURABILITY: acknowledged messages can be lost"), "{told}");
}

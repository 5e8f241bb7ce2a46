//! `throughline up` from its first line to its last process.

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::program::{Folder, Up, is_alive};

/// The last line of the banner.
const RUNNING: &str = "Or let this program do it";

fn published(folder: &Folder, number: u32) -> Value {
    let data = format!("{{\"type\":\"voice_call\",\"calls\":{number}}}");
    let id = format!("event-{number}");
    let answer = folder.succeed(&["publish", "metric.update", &data, "--id", &id, "--json"]);
    serde_json::from_str(&answer).unwrap()
}

fn calls(folder: &Folder) -> Vec<i64> {
    let lines = folder.succeed(&["history", "--channel", "dashboard:overview", "--limit", "0"]);
    let events = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.map(|event| event["data"]["calls"].as_i64().unwrap()).collect()
}

#[test]
fn it_prints_what_a_person_needs_and_takes_everything_with_it_on_ctrl_c() {
    let folder = Folder::new();
    let mut up = folder.up(&[]);
    up.says(RUNNING);
    for words in [
        "Gateway",
        "Ingest",
        "nats://127.0.0.1:",
        "user ",
        "agent ",
        "admin ",
        "service ",
        "curl -N",
    ] {
        assert!(up.printed.contains(words), "{words} in {}", up.printed);
    }
    let nats = folder.nats_pid();
    assert!(is_alive(nats));
    up.signal(Signal::INT);
    assert_eq!(up.ends(), Some(0));
    assert!(!is_alive(nats), "nats-server outlived it");
}

#[test]
fn what_was_published_is_there_after_a_crash_that_leaves_nats_behind() {
    let folder = Folder::new();
    let mut up = folder.up(&[]);
    up.says(RUNNING);
    assert_eq!(published(&folder, 1)["events"][0]["duplicate"], false);
    up.signal(Signal::KILL);
    up.ends();
    let nats = folder.nats_pid();
    assert!(is_alive(nats), "the crash took nats-server along: nothing is tested");
    let mut up = folder.up(&[]);
    up.says(RUNNING);
    assert_eq!(folder.nats_pid(), nats, "it goes on with the one that is there");
    assert_eq!(published(&folder, 1)["events"][0]["duplicate"], true);
    published(&folder, 2);
    assert_eq!(calls(&folder), [1, 2]);
    up.signal(Signal::TERM);
    assert_eq!(up.ends(), Some(0));
    assert!(!is_alive(nats), "nats-server outlived it");
}

/// Kills the folder's nats-server; the platform has it back, and it is another one.
#[track_caller]
fn strike(folder: &Folder, up: &mut Up) {
    let nats = folder.nats_pid();
    up.told.clear();
    kill_process(nats, Signal::KILL).unwrap();
    up.tells("nats-server ended");
    up.tells("nats-server is running again");
    assert_ne!(folder.nats_pid(), nats);
}

#[test]
fn a_killed_nats_is_started_again_and_publishing_goes_on() {
    let folder = Folder::new();
    let mut up = folder.up(&[]);
    up.says(RUNNING);
    published(&folder, 1);
    strike(&folder, &mut up);
    assert_eq!(published(&folder, 1)["events"][0]["duplicate"], true);
    published(&folder, 2);
    // One that an earlier run left behind is no child, and comes back all the same.
    up.signal(Signal::KILL);
    up.ends();
    let nats = folder.nats_pid();
    let mut up = folder.up(&[]);
    up.says(RUNNING);
    assert_eq!(folder.nats_pid(), nats, "it goes on with the one that is there");
    strike(&folder, &mut up);
    published(&folder, 3);
    assert_eq!(calls(&folder), [1, 2, 3]);
    let nats = folder.nats_pid();
    up.signal(Signal::TERM);
    assert_eq!(up.ends(), Some(0));
    assert!(!is_alive(nats), "nats-server outlived it");
    assert!(!up.all_told().contains("killed"), "{}", up.told);
}

#[test]
fn an_orderly_stop_without_a_nats_neither_starts_nor_kills_one() {
    let folder = Folder::new();
    let binary = runtime::nats_binary::find_or_fetch(&runtime::config::Environment).unwrap();
    let copy = folder.data().with_extension("nats-server");
    std::fs::copy(binary, &copy).unwrap();
    let mut command = folder.up_command(&[]);
    command.env("NATS_SERVER_BIN", &copy);
    let mut up = Up::start(command);
    up.says(RUNNING);
    std::fs::remove_file(&copy).unwrap();
    let nats = folder.nats_pid();
    kill_process(nats, Signal::KILL).unwrap();
    up.tells("nats-server ended");
    up.signal(Signal::INT);
    assert_eq!(up.ends(), Some(0));
    let told = up.all_told();
    assert!(!told.contains("killed") && !told.contains("running again"), "{told}");
    assert!(!folder.data().join("nats/nats-server.pid").exists());
}

#[test]
fn a_nats_that_was_left_behind_with_other_settings_is_replaced() {
    let folder = Folder::new();
    let mut up = folder.up(&[]);
    up.says(RUNNING);
    published(&folder, 1);
    let nats = folder.nats_pid();
    up.signal(Signal::KILL);
    up.ends();
    let mut command = folder.up_command(&[]);
    command.env("NATS_MAX_FILE_STORE", "65GB");
    let mut up = Up::start(command);
    up.says(RUNNING);
    assert!(!is_alive(nats) && is_alive(folder.nats_pid()));
    assert_eq!(published(&folder, 1)["events"][0]["duplicate"], true);
    up.signal(Signal::TERM);
    assert_eq!(up.ends(), Some(0));
}

#[test]
fn a_tail_goes_on_behind_its_last_event_when_everything_was_killed_and_started_again() {
    let folder = Folder::new();
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut up = folder.up_at(&free, &[]);
    up.says(RUNNING);
    published(&folder, 1);
    let tail = ["tail", "dashboard:overview", "--after", "earliest", "--count", "4", "--json"];
    let mut tail = Up::start(folder.command(&tail));
    tail.says("\"calls\":1");
    published(&folder, 2);
    tail.says("\"calls\":2");
    up.signal(Signal::KILL);
    up.ends();
    let mut up = folder.up_at(&free, &[]);
    up.says(RUNNING);
    published(&folder, 3);
    published(&folder, 4);
    assert_eq!(tail.ends(), Some(0));
    tail.says("\"calls\":4");
    let lines = tail.printed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let seen: Vec<_> = lines.map(|line| line["data"]["calls"].as_i64().unwrap()).collect();
    assert_eq!(seen, [1, 2, 3, 4]);
}

#[test]
fn a_tail_tells_and_counts_only_what_was_asked_for() {
    let folder = Folder::new();
    let mut up = folder.up(&[]);
    up.says(RUNNING);
    // An administrator is in this one's channel, too.
    let activity = r#"{"activity":{"userId":"7","userName":"Jo","action":"did","resource":"it"}}"#;
    folder.succeed(&["publish", "team.activity", activity]);
    published(&folder, 1);
    let told = |channel: &str| {
        folder.succeed(&["tail", channel, "--after", "earliest", "--count", "1", "--json"])
    };
    assert!(told("dashboard:overview").contains("\"calls\":1"));
    assert!(told("team").contains("\"userName\":\"Jo\""));
}

#[test]
fn lines_that_were_not_published_are_told() {
    let folder = Folder::new();
    let mut up = folder.up(&[]);
    up.says(RUNNING);
    let good = |number: u32| {
        let data = format!("{{\"type\":\"voice_call\",\"calls\":{number}}}");
        format!("{{\"type\":\"metric.update\",\"data\":{data},\"id\":\"event-{number}\"}}\n")
    };
    let bad = good(2).replace(":2}", ":\"two\"}");
    let input = folder.data().join("events.ndjson");
    std::fs::write(&input, [&good(1), "\n", &bad, &good(3)].concat()).unwrap();
    let mut publish = folder.command(&["publish", "--lines"]);
    let output = publish.stdin(std::fs::File::open(&input).unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("line 3 (id event-2): refused: 422"), "{told}");
    assert!(told.contains("1 line behind it was not sent"), "{told}");
    assert_eq!(calls(&folder), [1]);
}

#[test]
fn the_demo_fills_the_channels() {
    let folder = Folder::new();
    let mut up = folder.up(&["--demo"]);
    up.says(RUNNING);
    let event = folder.succeed(&["tail", "calls", "--after", "earliest", "--count", "1", "--json"]);
    let event: Value = serde_json::from_str(&event).unwrap();
    assert!(!event["cursor"].as_str().unwrap().is_empty());
}

#[test]
fn a_second_one_says_who_holds_the_folder() {
    let folder = Folder::new();
    let mut first = folder.up(&[]);
    first.says(RUNNING);
    let second = folder.command(&["up"]).env("GATEWAY_LISTEN", "127.0.0.1:0").output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let told = String::from_utf8(second.stderr).unwrap();
    assert!(told.contains("is in use: process "), "{told}");
}

#[test]
fn a_taken_port_is_named_with_the_variable_that_moves_it() {
    let folder = Folder::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = folder.command(&["up"]).env("GATEWAY_LISTEN", &address).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("GATEWAY_LISTEN") && told.contains(&address), "{told}");
}

#[test]
fn what_is_printed_is_true_where_the_environment_says_who_may_connect_and_where() {
    let folder = Folder::new();
    let applications = folder.data().with_extension("toml");
    let application = "[[application]]\nname = \"crm\"\ntenant = \"acme\"\n\
                       key = { secret = \"0123456789abcdef0123456789abcdef\" }\n";
    std::fs::write(&applications, application).unwrap();
    let mut command = folder.up_command(&[]);
    command.env("APPLICATIONS_FILE", &applications);
    let mut up = Up::start(command);
    up.says("Or let this program do it");
    assert!(up.printed.contains("none is made here"), "{}", up.printed);
    assert!(!up.printed.contains("eyJ"), "no token is taken: {}", up.printed);
    let ingest = up.printed.lines().find_map(|line| line.strip_prefix("Ingest"));
    let ingest = ingest.unwrap().split_whitespace().next().unwrap();
    let sources = std::fs::read_to_string(folder.data().join("secrets/sources.toml")).unwrap();
    let signed = format!("public_url = \"{ingest}\"");
    assert!(sources.contains(&signed), "{signed} in {sources}");
    let told = folder.succeed(&["token"]);
    let twilio = told.lines().find(|line| line.starts_with("twilio")).unwrap();
    assert!(twilio.ends_with(&format!("signs for {ingest}")), "{twilio}");
}

use std::io::Write as _;
use std::time::Duration;

use super::*;

const NUMBER: Variable =
    Variable { name: "AI_TIMEOUT_MS", default: Fallback::Is("8000"), meaning: "", secret: false };

#[track_caller]
fn mistakes<const N: usize>(
    given: [(&str, &str); N],
    read: impl Fn(&mut Reader<'_>),
) -> Vec<String> {
    let mut reader = Reader::new(&given);
    read(&mut reader);
    reader.finish(()).err().map(|mistakes| mistakes.0).unwrap_or_default()
}

#[test]
fn every_mistake_is_told_at_once_and_says_what_to_do() {
    let found = mistakes([("AI_TIMEOUT_MS", "8s"), ("LOG_FORMAT", "xml"), ("LISTEN", "80")], |r| {
        r.milliseconds(&AI_TIMEOUT_MS);
        r.text(&NATS_URL);
        r.choice(&LOG_FORMAT, &[("text", 0), ("json", 1)]);
        r.addresses_or(&LISTEN, ":1");
        r.required_secret(&PLATFORM_KEY);
    });
    assert_eq!(
        found,
        [
            r#"AI_TIMEOUT_MS: "8s" is not a number of milliseconds"#,
            "NATS_URL: missing, for example nats://localhost:4222",
            r#"LOG_FORMAT: "xml" is not one of text, json"#,
            r#"LISTEN: "80" is not an address to listen on such as 0.0.0.0:8080"#,
            "PLATFORM_KEY: missing; set it or PLATFORM_KEY_FILE",
        ]
    );
}

#[test]
fn a_declared_default_is_what_is_read() {
    let none: [(&str, &str); 0] = [];
    let mut reader = Reader::new(&none);
    assert_eq!(reader.milliseconds(&NUMBER), Duration::from_secs(8));
    assert_eq!(reader.optional(&NATS_CREDS), None);
    let addresses = reader.addresses_or(&LISTEN, "0.0.0.0:8080, localhost:3001,:5000");
    let shown: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["0.0.0.0:8080", "127.0.0.1:3001", "0.0.0.0:5000"]);
    assert!(reader.finish(()).is_ok());
}

#[test]
fn an_empty_value_counts_as_not_set() {
    let given = [("AI_TIMEOUT_MS", ""), ("STRICT_DURABILITY", "")];
    let mut reader = Reader::new(&given);
    assert_eq!(reader.milliseconds(&AI_TIMEOUT_MS), Duration::from_secs(8));
    assert!(!reader.flag(&STRICT_DURABILITY));
}

#[test]
fn a_secret_comes_from_its_file_without_the_line_end() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "from the file").unwrap();
    let path = file.path().to_str().unwrap();
    let given = [("JWT_SECRET_FILE", path)];
    let mut reader = Reader::new(&given);
    assert_eq!(reader.secret(&JWT_SECRET), Some(Secret::new("from the file")));

    let twice = mistakes([("JWT_SECRET_FILE", path), ("JWT_SECRET", "x")], |r| {
        r.secret(&JWT_SECRET);
    });
    assert_eq!(twice, ["JWT_SECRET: given twice, here and in JWT_SECRET_FILE; keep one"]);

    let missing = mistakes([("JWT_SECRET_FILE", "/does/not/exist")], |r| {
        r.required_secret(&JWT_SECRET);
    });
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert!(missing[0].starts_with("JWT_SECRET_FILE: /does/not/exist cannot be read"));
}

#[test]
fn a_secret_shows_nothing_of_itself() {
    assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(redacted)");
}

#[test]
fn an_overlay_prefers_what_lies_on_top() {
    let strings = Overlay([("A", "top")], [("A", "below"), ("B", "below")]);
    assert_eq!(strings.get("A").as_deref(), Some("top"));
    assert_eq!(strings.get("B").as_deref(), Some("below"));
}

#[test]
fn variables_are_declared_once() {
    let mut names: Vec<_> = VARIABLES.iter().map(|variable| variable.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

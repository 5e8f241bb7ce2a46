use serde_json::json;

use super::*;

fn parse(headers: &[(&str, &str)], body: &str) -> Result<Vec<Submission>, Unreadable> {
    let header = |name: &str| {
        headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_bytes())
    };
    read(&header, body.as_bytes(), Required::AsSpecified)
}

#[track_caller]
fn refused(headers: &[(&str, &str)], body: &str) -> (Option<usize>, String) {
    match parse(headers, body).unwrap_err() {
        Unreadable::Attribute { index, pointer, .. } => (index, pointer),
        other => panic!("{other}"),
    }
}

const BINARY: [(&str, &str); 4] =
    [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/a"), ("ce-type", "metric.update")];

#[test]
fn plain_json_is_one_event_or_a_list() {
    let one = r#"{"type":"metric.update","data":{"a":1},"id":"x","time":"2026-01-02T03:04:05Z","audience":["7",8]}"#;
    let read = parse(&[("content-type", "application/json")], one).unwrap();
    assert_eq!(read[0].event_type.as_deref(), Some("metric.update"));
    assert_eq!(read[0].data, json!({"a": 1}));
    assert_eq!(read[0].audience, ["7", "8"]);
    assert_eq!(read[0].time.unwrap().unix_timestamp(), 1_767_323_045);
    let list = parse(&[], &format!("[{one},{one}]")).unwrap();
    assert_eq!(list, [read[0].clone(), read[0].clone()]);
}

#[test]
fn a_misspelt_field_is_named_with_its_place_in_the_list() {
    let body = r#"[{"type":"a.b"},{"type":"a.b","audiance":[]}]"#;
    assert_eq!(refused(&[], body), (Some(1), "/audiance".to_owned()));
    assert_eq!(refused(&[], r#"{"type":7}"#), (None, "/type".to_owned()));
    assert_eq!(refused(&[], r#"{"type":"a","time":"yesterday"}"#), (None, "/time".to_owned()));
}

#[test]
fn a_batch_is_told_from_one_structured_event() {
    let event = r#"{"specversion":"1.0","id":"1","source":"/a","type":"t","data":{"x":1},"correlationid":"c","audience":"7, 8","ext":1}"#;
    let one = parse(&[("content-type", "application/cloudevents+json; charset=utf-8")], event);
    let one = one.unwrap().remove(0);
    assert_eq!((one.correlation_id.as_deref(), one.audience.len()), (Some("c"), 2));
    let batch = [("content-type", "application/cloudevents-batch+json")];
    assert_eq!(parse(&batch, &format!("[{event}]")).unwrap(), [one]);
    assert_eq!(parse(&batch, "[]").unwrap(), []);
    assert!(matches!(parse(&batch, event), Err(Unreadable::Shape(_))));
}

#[test]
fn what_cloudevents_requires_must_be_there() {
    let structured = [("content-type", "application/cloudevents+json")];
    for (missing, body) in [
        ("/specversion", r#"{"id":"1","source":"/a","type":"t"}"#),
        ("/specversion", r#"{"specversion":"0.3","id":"1","source":"/a","type":"t"}"#),
        ("/id", r#"{"specversion":"1.0","source":"/a","type":"t"}"#),
        ("/source", r#"{"specversion":"1.0","id":"1","type":"t"}"#),
        ("/type", r#"{"specversion":"1.0","id":"1","source":"/a"}"#),
    ] {
        assert_eq!(refused(&structured, body), (None, missing.to_owned()));
    }
    assert_eq!(refused(&BINARY[..3], "{}"), (None, "/type".to_owned()));
}

#[test]
fn binary_mode_decodes_headers_once() {
    let mut headers = BINARY.to_vec();
    headers[2].1 = "\"a \\\"b\\\" %C3%A4 %2525\"";
    headers.push(("content-type", "application/json"));
    let read = parse(&headers, r#"{"x":1}"#).unwrap().remove(0);
    assert_eq!(read.source.as_deref(), Some("a \"b\" \u{e4} %25"));
    assert_eq!(read.data, json!({"x": 1}));
    headers[2].1 = "%FF";
    assert_eq!(refused(&headers, "{}"), (None, "/source".to_owned()));
}

#[test]
fn binary_data_stays_base64_and_json_in_base64_is_read() {
    let mut headers = BINARY.to_vec();
    headers.push(("content-type", "audio/mpeg"));
    assert_eq!(parse(&headers, "abc").unwrap()[0].data, json!({"data_base64": "YWJj"}));
    let event = |extra: &str| {
        format!(r#"{{"specversion":"1.0","id":"1","source":"/a","type":"t",{extra}}}"#)
    };
    let structured = [("content-type", "application/cloudevents+json")];
    let json_inside = event(r#""datacontenttype":"application/json","data_base64":"eyJ4IjoxfQ==""#);
    assert_eq!(parse(&structured, &json_inside).unwrap()[0].data, json!({"x": 1}));
    let both = event(r#""data":{},"data_base64":"YQ==""#);
    assert_eq!(refused(&structured, &both), (None, "/data_base64".to_owned()));
}

#[test]
fn what_is_no_json_is_refused_without_quoting_it() {
    let Err(Unreadable::NotJson(text)) = parse(&[], "{\"secret-word\" oops") else { panic!() };
    assert!(!text.contains("secret-word"), "{text}");
    assert!(matches!(parse(&[], "7"), Err(Unreadable::Shape(_))));
}

#[test]
fn a_nats_publication_may_leave_everything_out() {
    let none = |_: &str| None;
    let read = from_headers(&none, br#"{"a":1}"#, Required::FilledIn).unwrap();
    assert_eq!((read.event_type, read.id, read.data), (None, None, json!({"a": 1})));
}

//! Phone calls: Twilio's callbacks for one, or CallerDesk's for another, in the order they happen.

use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::json;
use time::format_description::well_known::Rfc2822;
use time::macros::format_description;
use time::{Duration, OffsetDateTime};

use crate::simulate::people::{hex, phone, pick};
use crate::simulate::sending::Sending;

type Fields = Vec<(&'static str, String)>;

/// A call through Twilio: its statuses, who answered, its recording.
pub(crate) fn twilio(random: &mut StdRng, now: OffsetDateTime) -> Vec<Sending> {
    let (sid, account) = (format!("CA{}", hex(random, 32)), format!("AC{}", "0".repeat(32)));
    let outbound = random.random_bool(0.6);
    let base: Fields = vec![
        ("CallSid", sid),
        ("AccountSid", account),
        ("From", phone(random)),
        ("To", phone(random)),
        ("ApiVersion", "2010-04-01".to_owned()),
        ("Direction", if outbound { "outbound-api" } else { "inbound" }.to_owned()),
    ];
    let last = pick(random, &["completed", "completed", "completed", "busy", "no-answer"]);
    let answered = last == "completed";
    let seconds = random.random_range(12..600_i64);
    let mut sendings = Vec::new();
    // Begun so long ago that it ends now: providers report what has happened.
    let mut at = now - Duration::seconds(if answered { seconds + 6 } else { 6 });
    for (number, status) in statuses(outbound, last).into_iter().enumerate() {
        at += Duration::seconds(if status == last && answered { seconds } else { 2 });
        let mut fields = base.clone();
        fields.extend(progress(status, number, at));
        if status == last {
            let (spoken, billed) = if answered { (seconds, (seconds + 59) / 60) } else { (0, 0) };
            fields.push(("CallDuration", spoken.to_string()));
            fields.push(("Duration", billed.to_string()));
        }
        sendings.push(Sending::Twilio { kind: "call-status", fields });
        if status == "in-progress" && outbound {
            sendings.push(answering_machine(random, &base));
        }
    }
    if answered {
        sendings.push(recording(random, &base, seconds));
    }
    sendings
}

fn statuses(outbound: bool, last: &'static str) -> Vec<&'static str> {
    let mut statuses = if outbound { vec!["initiated", "ringing"] } else { vec!["ringing"] };
    if last == "completed" {
        statuses.push("in-progress");
    }
    statuses.push(last);
    statuses
}

fn progress(status: &str, number: usize, at: OffsetDateTime) -> Fields {
    vec![
        ("CallStatus", status.to_owned()),
        ("CallbackSource", "call-progress-events".to_owned()),
        ("SequenceNumber", number.to_string()),
        ("Timestamp", at.format(&Rfc2822).unwrap_or_default()),
    ]
}

fn identity(base: &Fields) -> Fields {
    base.iter().take(2).cloned().collect()
}

fn answering_machine(random: &mut StdRng, base: &Fields) -> Sending {
    let mut fields = identity(base);
    let answered_by = pick(random, &["human", "human", "human", "machine_end_beep"]);
    fields.push(("AnsweredBy", answered_by.to_owned()));
    fields.push(("MachineDetectionDuration", random.random_range(1_200..4_500).to_string()));
    Sending::Twilio { kind: "amd-status", fields }
}

fn recording(random: &mut StdRng, base: &Fields, seconds: i64) -> Sending {
    let sid = format!("RE{}", hex(random, 32));
    let mut fields = identity(base);
    fields.extend([
        ("RecordingUrl", format!("https://api.twilio.com/2010-04-01/Recordings/{sid}")),
        ("RecordingSid", sid),
        ("RecordingStatus", "completed".to_owned()),
        ("RecordingDuration", seconds.to_string()),
        ("RecordingChannels", "2".to_owned()),
        ("RecordingSource", "OutboundAPI".to_owned()),
    ]);
    Sending::Twilio { kind: "recording-status", fields }
}

/// A call through CallerDesk: while it rings, and the report of it.
pub(crate) fn callerdesk(random: &mut StdRng, now: OffsetDateTime) -> Vec<Sending> {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let india = now.to_offset(time::macros::offset!(+5:30));
    let when = |seconds| (india + Duration::seconds(seconds)).format(format).unwrap_or_default();
    let talk = random.random_range(0..300_i64);
    let when = |seconds| when(seconds - talk - 9);
    let sid = format!("{}.{}", now.unix_timestamp(), random.random_range(100..1_000_000));
    let (source, agent) = (phone(random), phone(random));
    let status = if talk == 0 { "NOANSWER" } else { "ANSWER" };
    let live = json!({
        "type": "live_call", "SourceNumber": source, "DestinationNumber": "08045889032",
        "DialWhomNumber": agent, "Status": "RINGING", "StartTime": when(0), "CallSid": sid,
        "Direction": "IVR",
    });
    let report = json!({
        "type": "call_report", "SourceNumber": source, "DestinationNumber": "08045889032",
        "DialWhomNumber": agent, "CallDuration": (talk + 9).to_string(),
        "TalkDuration": talk.to_string(), "coins": "1", "Status": status, "StartTime": when(0),
        "EndTime": when(talk + 9), "CallSid": sid, "Direction": "IVR",
        "CallRecordingUrl": format!("https://recordings.example.com/{sid}.wav"),
        "receiver_name": crate::simulate::people::name(random),
    });
    vec![Sending::CallerDesk(live), Sending::CallerDesk(report)]
}

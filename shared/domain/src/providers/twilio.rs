//! Twilio: call status, recordings, answering-machine detection and Voice Insights.
//! Statuses arrive repeated and out of order; they are mapped as they come, the fold puts them in order.

mod insights;

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::fields::{Data, Form, rfc2822, within_four_digits};
use super::{Mapped, Observation};
use crate::call_status::CallStatus;

pub use insights::map_quality_insights;

const UPDATE: &str = "call.update";
const PROVIDER: &str = "twilio";

const RECORDING_STATUSES: [&str; 4] = ["in-progress", "completed", "absent", "failed"];
const ANSWERED_BY: [&str; 7] = [
    "human",
    "machine_start",
    "machine_end_beep",
    "machine_end_silence",
    "machine_end_other",
    "fax",
    "unknown",
];

/// `call-status`: the key is the call and its sequence number, which repeats share.
pub fn map_call_status(body: &[u8]) -> Mapped {
    let form = Form::parse(body)?;
    let sid = form.required("CallSid")?;
    let status = form.required_word("CallStatus", &CallStatus::ALL.map(CallStatus::name))?;
    let sequence = form.number("SequenceNumber");
    let key = match sequence {
        Some(sequence) => format!("{sid}:{sequence}"),
        None => format!("{sid}:{status}"),
    };
    let data = Data::default()
        .with("callSid", sid)
        .with("status", status)
        .with("provider", PROVIDER)
        .maybe("sequence", sequence)
        .maybe("accountSid", form.get("AccountSid"))
        .maybe("parentCallSid", form.get("ParentCallSid"))
        .maybe("direction", form.get("Direction"))
        .maybe("from", form.get("From"))
        .maybe("to", form.get("To"))
        .maybe("callerName", form.get("CallerName"))
        .maybe("duration", form.number("CallDuration"))
        .maybe("sipCode", form.number("SipResponseCode"))
        .maybe("answeredBy", form.word("AnsweredBy", &ANSWERED_BY))
        .maybe("recording", form.get("RecordingUrl").map(|_| finished_recording(&form)));
    Ok(one(&form, key, data))
}

/// `recording-status`: the key is the recording and its status.
pub fn map_recording_status(body: &[u8]) -> Mapped {
    let form = Form::parse(body)?;
    let call = form.required("CallSid")?;
    let sid = form.required("RecordingSid")?;
    let status = form.required_word("RecordingStatus", &RECORDING_STATUSES)?;
    let channels = form.number("RecordingChannels").filter(|n| (1..=2).contains(n));
    let recording = Data::default()
        .with("sid", sid)
        .with("status", status)
        .maybe("url", form.get("RecordingUrl"))
        .maybe("duration", form.number("RecordingDuration"))
        .maybe("channels", channels)
        .maybe("track", form.word("RecordingTrack", &["inbound", "outbound", "both"]))
        .maybe("source", form.get("RecordingSource"))
        .time("startedAt", form.get("RecordingStartTime").and_then(rfc2822))
        .maybe("errorCode", form.get("ErrorCode").filter(|code| *code != "0"));
    let data = Data::default()
        .with("callSid", call)
        .with("provider", PROVIDER)
        .maybe("accountSid", form.get("AccountSid"))
        .with("recording", recording.done());
    Ok(one(&form, format!("{sid}:{status}"), data))
}

/// `amd-status`: who answered.
pub fn map_amd_status(body: &[u8]) -> Mapped {
    let form = Form::parse(body)?;
    let sid = form.required("CallSid")?;
    let answered_by = form.required_word("AnsweredBy", &ANSWERED_BY)?;
    let data = Data::default()
        .with("callSid", sid)
        .with("provider", PROVIDER)
        .with("answeredBy", answered_by)
        .maybe("accountSid", form.get("AccountSid"))
        .maybe("detectionMillis", form.number("MachineDetectionDuration"));
    Ok(one(&form, format!("{sid}:amd:{answered_by}"), data))
}

fn finished_recording(form: &Form<'_>) -> Value {
    Data::default()
        .with("status", "completed")
        .maybe("sid", form.get("RecordingSid"))
        .maybe("url", form.get("RecordingUrl"))
        .maybe("duration", form.number("RecordingDuration"))
        .done()
}

fn one(form: &Form<'_>, key: String, data: Data) -> Vec<Observation> {
    let time: Option<OffsetDateTime> =
        form.get("Timestamp").and_then(rfc2822).and_then(within_four_digits);
    vec![Observation::new(UPDATE, key, time, data.done())]
}

/// The update that tells subscribers of a call of new measurements.
fn quality_update(call: &str, quality: Value) -> Value {
    json!({ "callSid": call, "provider": PROVIDER, "quality": quality })
}

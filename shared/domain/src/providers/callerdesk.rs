//! CallerDesk: `live_call` and `call_report`, all values texts, as JSON or a form.
//! Times are ISO or `yyyy-mm-dd hh:mm:ss` in India's time.

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use time::macros::{format_description, offset};
use time::{OffsetDateTime, PrimitiveDateTime};

use super::fields::{Data, Form, iso, json, number, required_text, text, within_four_digits};
use super::{Mapped, Observation, Unmappable};

/// The most characters of a contact's name that an event may have.
const LONGEST_NAME: usize = 256;

/// `workspace` is the source's tenant, which the CRM calls so; `contact` is the name of whose number it is, where
/// somebody knows it. `span` numbers the minutes in which the body came: one that has neither an id nor a time is the
/// same for every call to its number, so that its id and key are those of a call of this span only.
pub fn map_event(body: &[u8], workspace: &str, contact: Option<&str>, span: u64) -> Mapped {
    let report = read(body)?;
    let kind = kind(&report)?;
    let (id, earlier_id) = call_ids(&report, body, span);
    let call = Call { id, earlier_id, workspace, contact, report };
    match kind {
        Kind::Live => call.live(),
        Kind::Completed => call.completed(),
    }
}

/// Whose name a report of a call should have, by the last ten digits of the number; `None` for any other body.
pub fn reported_number(body: &[u8]) -> Option<String> {
    let report = read(body).ok()?;
    match kind(&report).ok()? {
        Kind::Live => None,
        Kind::Completed => last_ten_digits(&text(&report, sides(&report).person)?),
    }
}

/// The last ten digits of a telephone number, by which a call finds its contact.
pub fn last_ten_digits(phone: &str) -> Option<String> {
    let digits: Vec<char> = phone.chars().filter(char::is_ascii_digit).collect();
    Some(digits.get(digits.len().checked_sub(10)?..)?.iter().collect())
}

/// Whether a live call is not answered yet.
pub fn is_ringing(status: &str) -> bool {
    ["ring", "ringing"].iter().any(|word| status.eq_ignore_ascii_case(word))
}

enum Kind {
    Live,
    Completed,
}

fn kind(report: &Value) -> Result<Kind, Unmappable> {
    let has = |pointer| text(report, pointer).is_some();
    match text(report, "/type").as_deref() {
        Some("live_call") => Ok(Kind::Live),
        Some("call_report") => Ok(Kind::Completed),
        Some(_) => Err(Unmappable::new("type has an unknown value")),
        // The provider itself sends no type; only a report has an end.
        None if has("/EndTime") || has("/CallDuration") => Ok(Kind::Completed),
        None if has("/SourceNumber") => Ok(Kind::Live),
        None => Err(Unmappable::new("neither type nor SourceNumber is there")),
    }
}

/// Where the numbers of a call's two sides stand, and which way it went.
struct Sides {
    person: &'static str,
    other: &'static str,
    direction: Option<&'static str>,
}

/// The person called is the destination; a caller into the menu (IVR) is the source.
fn sides(report: &Value) -> Sides {
    let (source, destination) = ("/SourceNumber", "/DestinationNumber");
    match text(report, "/Direction").as_deref() {
        Some("IVR") => Sides { person: source, other: destination, direction: Some("inbound") },
        Some(_) => Sides { person: destination, other: source, direction: Some("outbound") },
        None => Sides { person: destination, other: source, direction: None },
    }
}

struct Call<'a> {
    id: String,
    /// The id that it would have had a span earlier.
    earlier_id: Option<String>,
    workspace: &'a str,
    contact: Option<&'a str>,
    report: Value,
}

impl Call<'_> {
    fn live(&self) -> Mapped {
        let start = self.time("/StartTime");
        let status = required_text(&self.report, "/Status")?;
        // That it rings and that it is answered are two facts of one call.
        let fact = if is_ringing(&status) { "live_call:ringing" } else { "live_call" };
        let data = self.base("live_call")?.with("status", status);
        Ok(self.observation("call.live", fact, start, data))
    }

    fn completed(&self) -> Mapped {
        let said = required_text(&self.report, "/Status")?;
        let seconds = number(&self.report, "/CallDuration").unwrap_or(0);
        let end = self.time("/EndTime");
        let data = self
            .base("call_completed")?
            .maybe("contactName", self.contact.filter(|name| is_telling(name)))
            .with("status", outcome(&said))
            .with("providerStatus", said)
            .with("duration", format!("{}m {}s", seconds / 60, seconds % 60))
            .with("durationSeconds", seconds)
            .maybe("talkSeconds", number(&self.report, "/TalkDuration"))
            .maybe("recordingUrl", text(&self.report, "/CallRecordingUrl"))
            .maybe("agentName", text(&self.report, "/receiver_name"))
            .maybe("callGroup", text(&self.report, "/call_group"))
            .maybe("campaignId", text(&self.report, "/campid"))
            .maybe("errorCode", text(&self.report, "/error_code"))
            .time("endTime", end);
        Ok(self.observation("call.completed", "call_report", end, data))
    }

    fn base(&self, kind: &str) -> Result<Data, Unmappable> {
        let Sides { person, other, direction } = sides(&self.report);
        Ok(Data::default()
            .with("type", kind)
            .with("workspaceId", self.workspace)
            .with("callId", self.id.as_str())
            .with("phoneNumber", required_text(&self.report, person)?)
            .maybe("virtualNumber", text(&self.report, other))
            .maybe("agentNumber", text(&self.report, "/DialWhomNumber"))
            .maybe("direction", direction)
            .time("startTime", self.time("/StartTime")))
    }

    fn observation(
        &self,
        event: &'static str,
        fact: &str,
        time: Option<OffsetDateTime>,
        data: Data,
    ) -> Vec<Observation> {
        let key = |id: &str| format!("{id}:{fact}");
        let observation = Observation::new(event, key(&self.id), time, data.done());
        vec![Observation { earlier_key: self.earlier_id.as_deref().map(key), ..observation }]
    }

    fn time(&self, pointer: &str) -> Option<OffsetDateTime> {
        let text = text(&self.report, pointer)?;
        iso(&text).or_else(|| india_time(&text))
    }
}

fn read(body: &[u8]) -> Result<Value, Unmappable> {
    let starts_with = body.iter().find(|byte| !byte.is_ascii_whitespace());
    let value = match starts_with {
        None => return Err(Unmappable::new("the body is empty")),
        Some(b'{' | b'[' | b'"') => json(body)?,
        Some(_) => Form::parse(body)?.into_json(),
    };
    if value.is_object() { Ok(value) } else { Err(Unmappable::new("the body is no object")) }
}

/// The provider's id, else one made from the body, which its repeats share; and the id that a repeat of the span
/// before had, where nothing in the body tells one call from the next.
fn call_ids(report: &Value, body: &[u8], span: u64) -> (String, Option<String>) {
    if let Some(sid) = text(report, "/CallSid") {
        return (sid, None);
    }
    let has_time = ["/StartTime", "/EndTime"].iter().any(|at| text(report, at).is_some());
    if has_time {
        return (hash(&[body]), None);
    }
    let of = |span: u64| hash(&[body, b"\n", &span.to_be_bytes()]);
    (of(span), Some(of(span.wrapping_sub(1))))
}

fn hash(parts: &[&[u8]]) -> String {
    let digest = parts.iter().fold(Sha256::new(), |digest, part| digest.chain_update(part));
    digest.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

/// What the catalogue would not take is left out: the call is worth more than whose it is.
fn is_telling(name: &str) -> bool {
    !name.trim().is_empty() && name.chars().count() <= LONGEST_NAME
}

fn outcome(status: &str) -> &'static str {
    match status.to_ascii_uppercase().replace([' ', '_', '-'], "").as_str() {
        "ANSWER" | "ANSWERED" | "COMPLETED" => "Completed",
        "NOANSWER" | "CANCEL" | "CANCELLED" | "ABANDONED" | "ABANDON" | "MISSED" => "No Answer",
        "BUSY" => "Busy",
        _ => "Failed",
    }
}

fn india_time(text: &str) -> Option<OffsetDateTime> {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let local = PrimitiveDateTime::parse(text, &format).ok()?;
    within_four_digits(local.assume_offset(offset!(+5:30)))
}

//! Every call, whatever order its provider told of it in: statuses, recordings, who answered, quality, what was said,
//! notes, follow-ups and its termination. Repeated and late callbacks change nothing.

use super::doc::{Doc, json_list};
use super::{Change, Detail, Entry, Event, Listing, Rows, View};
use crate::StreamId;
use crate::call_status::CallStatus;
use crate::providers::callerdesk::is_ringing;

pub(super) const VIEW: View = View {
    name: "calls",
    version: 3,
    stream: StreamId::Calls,
    listing: Listing::All,
    counts_rows: false,
    fold,
    show,
    found_by: None,
};

/// What never changes in a call's life, and is told with some of its callbacks; in the order of fields.
static DESCRIPTION: [&str; 21] = [
    "accountSid",
    "agentId",
    "agentName",
    "agentNumber",
    "callGroup",
    "callerName",
    "campaignId",
    "conversationId",
    "detectionMillis",
    "direction",
    "errorCode",
    "failureReason",
    "from",
    "parentCallSid",
    "phoneNumber",
    "provider",
    "providerStatus",
    "recordingUrl",
    "sipCode",
    "to",
    "virtualNumber",
];

/// Names of rows begin with what they are.
mod row {
    pub(super) const FOLLOW_UP: &str = "f:";
    pub(super) const LINE: &str = "l:";
    pub(super) const NOTE: &str = "n:";
    pub(super) const QUALITY: &str = "q:";
    pub(super) const RECORDING: &str = "r:";
    pub(super) const TRANSCRIPT: &str = "t";
}

/// How far a status is in a call's life; a lower one never takes a higher one back.
pub(super) fn rank(status: &str) -> Option<i64> {
    Some(match CallStatus::parse(status)? {
        CallStatus::Queued => 0,
        CallStatus::Initiated => 1,
        CallStatus::Ringing => RINGING,
        CallStatus::InProgress => ANSWERED,
        status => {
            debug_assert!(status.is_final());
            FINAL
        }
    })
}

const RINGING: i64 = 2;
pub(super) const ANSWERED: i64 = 3;
pub(super) const FINAL: i64 = 4;

/// By rank, then by the provider's own order.
pub(super) fn order(rank: i64, sequence: Option<i64>) -> i64 {
    rank << 40 | sequence.unwrap_or(0).clamp(0, (1 << 40) - 1)
}

fn fold(event: &Event<'_>, rows: &mut dyn Rows) {
    let Some(name) = event.kind.strip_prefix("call.") else { return };
    let Some(data) = Doc::parse(event.data) else { return };
    match name {
        "update" => update(event, &data, rows),
        "quality" => measured(event, &data, rows),
        "transcription" => said(event, &data, rows),
        "live" | "completed" => reported(event, &data, rows),
        "note" => add(event, &data, row::NOTE, &["noteId", "text", "author"], rows),
        "follow_up" => {
            let fields = &["followUpId", "dueAt", "text", "createdBy"];
            add(event, &data, row::FOLLOW_UP, fields, rows);
        }
        "termination.requested" => terminated(event, &data, "requested", rows),
        "termination.done" => terminated(event, &data, "done", rows),
        "termination.failed" => terminated(event, &data, "failed", rows),
        _ => {}
    }
}

/// Changes a call's head, which it gets if it has none.
fn change_head(sid: &str, rows: &mut dyn Rows, change: &mut dyn FnMut(&mut Doc<'_>)) {
    rows.update(sid, "", &mut |old| {
        let mut head = Doc::row(old);
        if head.is_empty() {
            head.set_text("callSid", sid);
        }
        change(&mut head);
        Change::Put(head.to_bytes())
    });
}

fn describe(head: &mut Doc<'_>, data: &Doc<'_>) {
    head.take_greatest_of(&DESCRIPTION, data);
    head.take_highest("duration", data.integer("duration"));
}

fn update(event: &Event<'_>, data: &Doc<'_>, rows: &mut dyn Rows) {
    let Some(sid) = data.text("callSid") else { return };
    change_head(&sid, rows, &mut |head| {
        describe(head, data);
        if let Some(status) = data.text("status") {
            set_status(head, &status, data.integer("sequence"), event.time);
        }
        if let Some(by) = data.text("answeredBy") {
            set_answered_by(head, &by);
        }
    });
    if let Some(recording) = data.doc("recording") {
        record(&sid, &recording, rows);
    }
    if let Some(quality) = data.doc("quality") {
        let name = quality_row(&quality);
        rows.update(&sid, &name, &mut |old| {
            let mut kept = Doc::row(old);
            for name in ["insight", "edge", "issue", "level"] {
                kept.take_greatest(name, quality.get(name));
            }
            Change::Put(kept.to_bytes())
        });
    }
}

fn set_status(head: &mut Doc<'_>, status: &str, sequence: Option<i64>, time: &str) {
    let Some(rank) = rank(status) else { return };
    head.take_earliest("startedAt", time);
    match rank {
        RINGING => head.take_earliest("ringingAt", time),
        ANSWERED => head.take_earliest("answeredAt", time),
        FINAL => head.take_earliest("endedAt", time),
        _ => {}
    }
    let order = order(rank, sequence);
    let present = head.integer("_order").unwrap_or(-1);
    let is_beyond = order > present
        || (order == present && head.text("status").is_none_or(|present| status > &*present));
    if is_beyond {
        head.set_number("_order", order);
        head.set_text("status", status);
    }
}

/// A machine's kind is told after that it is one; that nobody knows is told when nothing else can be.
fn set_answered_by(head: &mut Doc<'_>, by: &str) {
    let certainty = |by: &str| match by {
        "unknown" => 0,
        "machine_start" => 1,
        _ => 2,
    };
    let is_beyond = head
        .text("answeredBy")
        .is_none_or(|present| (certainty(by), by) > (certainty(&present), &*present));
    if is_beyond {
        head.set_text("answeredBy", by);
    }
}

fn record(sid: &str, recording: &Doc<'_>, rows: &mut dyn Rows) {
    let id = recording.text("sid").or_else(|| recording.text("source")).unwrap_or_default();
    rows.update(sid, &format!("{}{id}", row::RECORDING), &mut |old| {
        let mut kept = Doc::row(old);
        let is_over =
            |status: Option<&str>| status.is_some_and(|status| status != "\"in-progress\"");
        for (name, value) in recording.iter() {
            if name == "status" && is_over(kept.get(name)) && !is_over(Some(value)) {
                continue;
            }
            let supersedes = name == "status" && is_over(Some(value)) && !is_over(kept.get(name));
            if supersedes || kept.get(name).is_none_or(|present| present < value) {
                kept.put(name.to_owned().into(), value.to_owned().into());
            }
        }
        Change::Put(kept.to_bytes())
    });
}

fn quality_row(quality: &Doc<'_>) -> String {
    let part = |name| quality.text(name).unwrap_or_default();
    format!("{}{}/{}/{}", row::QUALITY, part("insight"), part("edge"), part("direction"))
}

/// Measurements of one place in a call are told again with newer ones.
fn measured(event: &Event<'_>, data: &Doc<'_>, rows: &mut dyn Rows) {
    let Some(sid) = data.text("callSid") else { return };
    change_head(&sid, rows, &mut |_| {});
    let metrics = data.get("metrics").unwrap_or("{}");
    rows.update(&sid, &quality_row(data), &mut |old| {
        let mut kept = Doc::row(old);
        for name in ["insight", "edge", "direction", "issue", "level"] {
            kept.take_greatest(name, data.get(name));
        }
        let stamp = format!("{} {metrics}", event.time);
        if kept.advances("_stamp", &stamp) {
            kept.set("metrics", metrics.to_owned());
            kept.set_text("at", event.time);
        }
        Change::Put(kept.to_bytes())
    });
}

fn said(event: &Event<'_>, data: &Doc<'_>, rows: &mut dyn Rows) {
    let Some(sid) = data.text("callSid") else { return };
    change_head(&sid, rows, &mut |head| {
        for name in ["agentId", "conversationId"] {
            head.take_greatest(name, data.get(name));
        }
    });
    if data.get("transcript").is_some() {
        let whole = ["transcript", "status", "successful", "summary", "duration", "cost"];
        let stamp = format!("{} {}", event.time, event.id);
        rows.update(&sid, row::TRANSCRIPT, &mut |old| {
            let mut kept = Doc::row(old);
            if kept.advances("_stamp", &stamp) {
                for name in whole {
                    kept.remove(name);
                    kept.take(name, data.get(name));
                }
            }
            Change::Put(kept.to_bytes())
        });
    } else if data.get("final") != Some("false") {
        add(event, data, row::LINE, &["role", "text", "atSeconds"], rows);
    }
}

/// Something that happened to a call besides its course, once per event.
fn add(
    event: &Event<'_>,
    data: &Doc<'_>,
    kind: &str,
    fields: &'static [&'static str],
    rows: &mut dyn Rows,
) {
    let Some(sid) = data.text("callSid") else { return };
    change_head(&sid, rows, &mut |_| {});
    rows.update(&sid, &format!("{kind}{} {}", event.time, event.id), &mut |_| {
        let mut added = Doc::default();
        for name in fields {
            added.take(name, data.get(name));
        }
        added.set_text("at", event.time);
        added.set_text("id", event.id);
        Change::Put(added.to_bytes())
    });
}

/// CallerDesk's own words beside the platform's.
fn reported(event: &Event<'_>, data: &Doc<'_>, rows: &mut dyn Rows) {
    let Some(id) = data.text("callId") else { return };
    let said = data.text("status").unwrap_or_default();
    let status = match (event.kind, &*said) {
        ("call.live", said) if is_ringing(said) => "ringing",
        ("call.live", _) => "in-progress",
        (_, "Completed") => "completed",
        (_, "No Answer") => "no-answer",
        (_, "Busy") => "busy",
        _ => "failed",
    };
    change_head(&id, rows, &mut |head| {
        describe(head, data);
        head.take_greatest("provider", Some("\"callerdesk\""));
        head.take_highest("duration", data.integer("durationSeconds"));
        head.take_highest("talkSeconds", data.integer("talkSeconds"));
        let (began, ended) = (data.moment("startTime"), data.moment("endTime"));
        let happened = if event.kind == "call.live" { &began } else { &ended };
        set_status(head, status, None, happened.as_deref().unwrap_or(event.time));
        head.take_earliest("startedAt", began.as_deref().unwrap_or_default());
    });
}

fn terminated(event: &Event<'_>, data: &Doc<'_>, state: &str, rows: &mut dyn Rows) {
    let Some(sid) = data.text("callSid") else { return };
    let rank = u8::from(state != "requested");
    change_head(&sid, rows, &mut |head| {
        let stamp = format!("{} {rank} {state} {}", event.time, event.id);
        if head.advances("_termination", &stamp) {
            let mut termination = Doc::default();
            termination.set_text("state", state);
            termination.set_text("at", event.time);
            for name in ["requestedBy", "error"] {
                termination.take(name, data.get(name));
            }
            head.set("termination", termination.to_json());
        }
    });
}

fn show(entry: &Entry<'_>, detail: Detail) -> Option<String> {
    let mut shown = Doc::parse(entry.head?)?;
    if detail == Detail::Full {
        let of = |kind: &str| {
            let rows = entry.rows.iter().filter(|(name, _)| name.starts_with(kind));
            json_list(rows.filter_map(|(_, bytes)| Some(Doc::parse(bytes)?.shown())))
        };
        shown.set("recordings", of(row::RECORDING));
        shown.set("quality", of(row::QUALITY));
        shown.set("notes", of(row::NOTE));
        shown.set("followUps", of(row::FOLLOW_UP));
        let whole = entry.rows.iter().find(|(name, _)| *name == row::TRANSCRIPT);
        let mut transcription = Doc::row(whole.map(|(_, bytes)| *bytes));
        transcription.remove("_stamp");
        transcription.set("lines", of(row::LINE));
        shown.set("transcription", transcription.to_json());
        if entry.more {
            shown.set("more", "true");
        }
    }
    Some(shown.shown())
}

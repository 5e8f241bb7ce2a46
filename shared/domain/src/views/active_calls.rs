//! The calls that are going on. One that is over leaves a mark, so that a late "ringing" does not bring it back.
//!
//! CallerDesk's report of a call does not always carry the id that its live notice had, but its number does not have
//! two calls at a time: such a call is kept by its number and ends with the next report of that number.

use std::borrow::Cow;

use super::calls::{ANSWERED, FINAL, order, rank};
use super::doc::Doc;
use super::{Change, Detail, Entry, Event, Listing, Rows, View};
use crate::StreamId;
use crate::providers::callerdesk::{is_ringing, last_ten_digits};

pub(super) const VIEW: View = View {
    name: "active-calls",
    version: 3,
    stream: StreamId::Calls,
    listing: Listing::Chosen(is_active),
    counts_rows: false,
    fold,
    show,
    found_by: None,
};

/// What a grid of live calls draws, besides status and times; in the order of fields.
static DESCRIPTION: [&str; 11] = [
    "agentId",
    "agentNumber",
    "callerName",
    "contactName",
    "conversationId",
    "direction",
    "from",
    "parentCallSid",
    "phoneNumber",
    "provider",
    "to",
];

fn fold(event: &Event<'_>, rows: &mut dyn Rows) {
    let is_told = matches!(event.kind, "call.update" | "call.live" | "call.completed");
    let Some(data) = is_told.then(|| Doc::parse(event.data)).flatten() else { return };
    match event.kind {
        "call.update" => update(event, &data, rows),
        _ => reported(event, &data, rows),
    }
}

fn is_over(head: &Doc<'_>) -> bool {
    head.get("_over").is_some()
}

fn update(event: &Event<'_>, data: &Doc<'_>, rows: &mut dyn Rows) {
    let Some(sid) = data.text("callSid") else { return };
    let status = data.text("status");
    let rank = status.as_deref().and_then(rank);
    if rank.is_none() && data.get("answeredBy").is_none() {
        return;
    }
    rows.update(&sid, "", &mut |old| {
        let mut head = Doc::row(old);
        if is_over(&head) {
            return Change::Keep;
        }
        if rank == Some(FINAL) {
            let mut mark = Doc::default();
            mark.set("_over", "true");
            return Change::Put(mark.to_bytes());
        }
        head.set_text("callSid", &sid);
        head.take_greatest_of(&DESCRIPTION, data);
        head.take_greatest("answeredBy", data.get("answeredBy"));
        if let (Some(rank), Some(status)) = (rank, &status) {
            head.take_earliest("startedAt", event.time);
            if rank == ANSWERED {
                head.take_earliest("answeredAt", event.time);
            }
            let order = order(rank, data.integer("sequence"));
            if head.integer("_order").is_none_or(|present| present < order) {
                head.set_number("_order", order);
                head.set_text("status", status);
            }
        }
        Change::Put(head.to_bytes())
    });
}

fn reported(event: &Event<'_>, data: &Doc<'_>, rows: &mut dyn Rows) {
    let (Some(id), Some(phone)) = (data.text("callId"), data.text("phoneNumber")) else { return };
    let number = last_ten_digits(&phone).unwrap_or_else(|| phone.clone().into_owned());
    rows.update(&format!("phone:{number}"), "", &mut |old| {
        let mut head = Doc::row(old);
        if event.kind == "call.live" {
            went_live(event, &id, data, &mut head);
        } else {
            ended(&id, data, &mut head);
        }
        Change::Put(head.to_bytes())
    });
}

/// A notice of a call that is over already, or of one before it, came late. That a call rings may come behind that it
/// was answered, and says then only when it began.
fn went_live(event: &Event<'_>, id: &str, data: &Doc<'_>, head: &mut Doc<'_>) {
    let began = data.moment("startTime");
    let is_before =
        |name: &str| began.as_deref().is_some_and(|it| Some(it) < head.text(name).as_deref());
    let is_over = head.text("_endedId").as_deref() == Some(id) || is_before("_ended");
    let is_older = is_before("_began");
    if is_over || is_older {
        return;
    }
    let is_ringing = data.text("status").is_some_and(|status| is_ringing(&status));
    let is_known = head.text("callSid").as_deref() == Some(id);
    if is_known && is_ringing && head.get("answeredAt").is_some() {
        head.take_earliest("startedAt", began.as_deref().unwrap_or(event.time));
        return;
    }
    let rang = head.text("startedAt").filter(|_| is_known).map(Cow::into_owned);
    clear(head);
    for name in DESCRIPTION {
        head.take(name, data.get(name));
    }
    head.set_text("callSid", id);
    head.set_text("provider", "callerdesk");
    head.set_text("status", if is_ringing { "ringing" } else { "in-progress" });
    if let Some(began) = &began {
        head.set_text("_began", began);
    }
    let began = began.as_deref().unwrap_or(event.time);
    head.set_text("startedAt", began);
    head.take_earliest("startedAt", rang.as_deref().unwrap_or_default());
    if !is_ringing {
        head.set_text("answeredAt", began);
    }
}

/// Only the provider's own clock tells that a report is of an earlier call. Where one of the two does not say its time,
/// the report that is stored behind the live notice ends the call.
fn ended(id: &str, data: &Doc<'_>, head: &mut Doc<'_>) {
    let end = data.moment("endTime");
    let is_of_the_same = head.text("callSid").as_deref() == Some(id);
    let is_earlier = match (&end, head.text("_began")) {
        (Some(end), Some(began)) => **end < *began,
        _ => false,
    };
    if is_of_the_same || !is_earlier {
        clear(head);
    }
    if end.is_none_or(|end| head.advances("_ended", &end)) {
        head.set_text("_endedId", id);
    }
}

/// No call goes on.
fn clear(head: &mut Doc<'_>) {
    let own = ["_began", "_live", "answeredAt", "callSid", "provider", "startedAt", "status"];
    DESCRIPTION.into_iter().chain(own).for_each(|name| head.remove(name));
}

fn is_active(head: &[u8]) -> bool {
    // The mark of a call that is over, which most of them are.
    if head.starts_with(br#"{"_over""#) {
        return false;
    }
    let head = Doc::row(Some(head));
    // A row that an earlier version of this view left: it kept a call that had ended, and when it was told of both.
    let had_ended = || {
        let same = head.get("_endedId").is_some() && head.get("_endedId") == head.get("callSid");
        head.get("_live").is_some_and(|live| same || head.get("_ended") > Some(live))
    };
    head.get("status").is_some() && !is_over(&head) && !had_ended()
}

fn show(entry: &Entry<'_>, _: Detail) -> Option<String> {
    let head = entry.head.filter(|head| is_active(head))?;
    Some(Doc::parse(head)?.shown())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_an_earlier_version_knew_to_be_over_is_not_active() {
        let row = |ended: &str| {
            let row = format!(
                r#"{{"_ended":"{ended} b","_endedId":"b","_live":"2026-01-02T03:00:01.000Z a","callSid":"a","status":"in-progress"}}"#
            );
            is_active(row.as_bytes())
        };
        assert!(!row("2026-01-02T03:00:02.000Z"));
        assert!(row("2026-01-02T03:00:00.000Z"));
    }
}

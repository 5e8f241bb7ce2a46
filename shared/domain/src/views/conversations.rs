//! Conversations with the AI and what was said in them. Commands are decided one after the other, so the order of the
//! log is the order of the conversation.

use std::borrow::Cow;
use std::collections::HashMap;

use super::doc::{Doc, json_list};
use super::{Detail, Entry, Event, Listing, Rows, View, change_row};
use crate::StreamId;

pub(super) const VIEW: View = View {
    name: "conversations",
    version: 2,
    stream: StreamId::Conversations,
    listing: Listing::All,
    counts_rows: false,
    fold,
    show,
    found_by: None,
};

/// Where an AI service's answer holds its text: in the first of these that is a string.
const ANSWER: [&str; 6] = ["response", "message", "text", "reply", "answer", "content"];

/// Names of a turn's row begin with it and go on with its place in the log.
const TURN: &str = "t:";

fn fold(event: &Event<'_>, rows: &mut dyn Rows) {
    let (said_by, fields): (&str, &[&str]) = match event.kind {
        "conversation.started" | "conversation.ended" => ("", &[]),
        "conversation.message" => ("user", &["messageId", "message"]),
        "voice.transcription" => ("user", &["chunkId", "text"]),
        "ai.response" => (
            "assistant",
            &[
                "messageId",
                "crisis_detected",
                "severity",
                "detected_signals",
                "safety_state",
                "resources",
            ],
        ),
        "ai.failed" => ("failure", &["messageId", "code", "message"]),
        _ => return,
    };
    let Some(data) = Doc::parse(event.data) else { return };
    let Some(id) = data.text("conversationId") else { return };
    change_row(rows, &id, "", &mut |head| {
        head.set_text("conversationId", &id);
        for name in ["userId", "avatarId"] {
            head.take_greatest(name, data.get(name));
        }
        match event.kind {
            "conversation.started" => {
                head.take_earliest("startedAt", event.time);
                if head.get("endedAt").is_none() {
                    head.set_text("state", "open");
                }
            }
            "conversation.ended" => {
                head.take_earliest("endedAt", event.time);
                head.take_highest("duration", data.integer("duration"));
                head.set_text("state", "ended");
            }
            _ => head.set_text("lastAt", event.time),
        }
    });
    if said_by.is_empty() {
        return;
    }
    change_row(rows, &id, &format!("{TURN}{:016x}", event.sequence), &mut |turn| {
        turn.set_text("role", said_by);
        turn.set_text("at", event.time);
        for name in fields {
            // All kinds of turns hold their words under one name.
            let kept = if *name == "message" { "text" } else { name };
            turn.take(kept, data.get(name));
        }
        if event.kind == "ai.response" {
            let texts = ANSWER.iter().filter_map(|name| data.get(name));
            turn.take("text", texts.into_iter().find(|json| json.starts_with('"')));
        }
    });
}

/// What was said is one line, also where it was sent again after a failure, or was speech that became a message. The
/// line stands where it was said first, and tells what was said last before it was answered.
fn lines<'a>(turns: impl Iterator<Item = Doc<'a>>) -> Vec<Doc<'a>> {
    let (mut lines, mut open): (Vec<Doc<'a>>, HashMap<String, Said>) = Default::default();
    for turn in turns {
        let id = turn.text("messageId").or_else(|| turn.text("chunkId")).map(Cow::into_owned);
        let role = turn.text("role");
        let said = id.as_ref().and_then(|id| open.get_mut(id));
        match (role.as_deref(), said) {
            (Some("user"), Some(said)) => {
                let line = &mut lines[said.line];
                for name in ["messageId", "chunkId"] {
                    line.take(name, turn.get(name));
                }
                if !said.is_answered {
                    line.take("text", turn.get("text"));
                }
                continue;
            }
            (Some("user"), None) => {
                let said = Said { line: lines.len(), is_answered: false };
                open.extend(id.map(|id| (id, said)));
            }
            (Some("assistant"), Some(said)) => said.is_answered = true,
            _ => {}
        }
        lines.push(turn);
    }
    lines
}

/// Something that a user said.
struct Said {
    line: usize,
    is_answered: bool,
}

fn show(entry: &Entry<'_>, detail: Detail) -> Option<String> {
    let mut shown = Doc::parse(entry.head?)?;
    if detail == Detail::Full {
        let turns = entry.rows.iter().filter(|(name, _)| name.starts_with(TURN));
        let lines = lines(turns.filter_map(|(_, bytes)| Doc::parse(bytes)));
        shown.set("transcript", json_list(lines.iter().map(Doc::shown)));
        if entry.more {
            shown.set("more", "true");
        }
    }
    Some(shown.shown())
}

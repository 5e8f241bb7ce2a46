//! Agents and whether they are there. What happened last counts, whatever order it is told in.

use super::doc::Doc;
use super::{Detail, Entry, Event, Listing, Rows, View, change_row};
use crate::StreamId;

pub(super) const VIEW: View = View {
    name: "agents",
    version: 1,
    stream: StreamId::Activity,
    listing: Listing::All,
    counts_rows: false,
    fold,
    show,
    found_by: None,
};

fn fold(event: &Event<'_>, rows: &mut dyn Rows) {
    if event.kind != "agent.status_change" {
        return;
    }
    let Some(data) = Doc::parse(event.data) else { return };
    let Some(id) = data.text("agentId") else { return };
    change_row(rows, &id, "", &mut |head| {
        head.set_text("agentId", &id);
        if head.advances("_stamp", &format!("{} {}", event.time, event.id)) {
            head.set_text("since", event.time);
            for name in ["status", "message"] {
                head.remove(name);
                head.take(name, data.get(name));
            }
        }
    });
}

fn show(entry: &Entry<'_>, _: Detail) -> Option<String> {
    Some(Doc::parse(entry.head?)?.shown())
}

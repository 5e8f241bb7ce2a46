//! WhatsApp accounts and whether they are connected. What happened last counts, whatever order it is told in.

use super::doc::Doc;
use super::{Detail, Entry, Event, Listing, Rows, View, change_row};
use crate::StreamId;

pub(super) const VIEW: View = View {
    name: "whatsapp-accounts",
    version: 1,
    stream: StreamId::Messages,
    listing: Listing::All,
    counts_rows: false,
    fold,
    show,
    found_by: None,
};

fn fold(event: &Event<'_>, rows: &mut dyn Rows) {
    let Some(name) = event.kind.strip_prefix("whatsapp.") else { return };
    let Some(data) = Doc::parse(event.data) else { return };
    let Some(id) = data.text("accountId") else { return };
    let said = data.text("status");
    let status = match name {
        "ready" => Some("Connected"),
        "disconnected" => Some("Disconnected"),
        "connection.status" => said.as_deref(),
        "qr.generated" => None,
        _ => return,
    };
    change_row(rows, &id, "", &mut |head| {
        head.set_text("accountId", &id);
        let stamp = format!("{} {}", event.time, event.id);
        if let Some(status) = status
            && head.advances("_status", &stamp)
        {
            head.set_text("status", status);
            head.set_text("since", event.time);
            for name in ["message", "reason"] {
                head.remove(name);
                head.take(name, data.get(name));
            }
        }
        if name == "ready" && head.advances("_ready", &stamp) {
            head.take("accountInfo", data.get("accountInfo"));
        }
        if name == "qr.generated" && head.advances("_qr", &stamp) {
            for name in ["qrCode", "expiresAt"] {
                head.take(name, data.get(name));
            }
        }
        // A code is of no use once the account is connected behind it.
        if head.get("_status") > head.get("_qr") && head.get("status") == Some("\"Connected\"") {
            head.remove("qrCode");
            head.remove("expiresAt");
        }
    });
}

fn show(entry: &Entry<'_>, _: Detail) -> Option<String> {
    Some(Doc::parse(entry.head?)?.shown())
}

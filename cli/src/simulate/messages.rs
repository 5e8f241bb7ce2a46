//! WhatsApp conversations and campaigns.

use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::simulate::people::{hex, name, phone, text};
use crate::simulate::sending::Sending;

const ACCOUNT: &str = "105500000000001";

/// A customer writes; our answer is sent, delivered and perhaps read.
pub(crate) fn whatsapp(random: &mut StdRng, now: OffsetDateTime) -> Vec<Sending> {
    let customer = phone(random).trim_start_matches('+').to_owned();
    let stamp = |after: i64| (now.unix_timestamp() + after).to_string();
    let message = json!({
        "contacts": [{ "profile": { "name": name(random) }, "wa_id": customer }],
        "messages": [{
            "from": customer, "id": wamid(random), "timestamp": stamp(0), "type": "text",
            "text": { "body": text(random) },
        }],
    });
    let answer = wamid(random);
    let read = random.random_bool(0.7);
    let statuses: &[&str] =
        if read { &["sent", "delivered", "read"] } else { &["sent", "delivered"] };
    let mut sendings = vec![envelope(message)];
    sendings.extend(statuses.iter().zip(1..).map(|(status, after)| {
        envelope(json!({
            "statuses": [{
                "id": answer, "status": status, "timestamp": stamp(after * 2), "recipient_id": customer,
                "conversation": { "id": hex(random, 32), "origin": { "type": "service" } },
                "pricing": { "billable": true, "pricing_model": "CBP", "category": "service" },
            }],
        }))
    }));
    sendings
}

fn wamid(random: &mut StdRng) -> String {
    format!("wamid.HBgL{}", hex(random, 28).to_uppercase())
}

fn envelope(mut value: Value) -> Sending {
    value["messaging_product"] = json!("whatsapp");
    value["metadata"] =
        json!({ "display_phone_number": "15550001000", "phone_number_id": ACCOUNT });
    Sending::WhatsApp(json!({
        "object": "whatsapp_business_account",
        "entry": [{ "id": "200000000000001", "changes": [{ "field": "messages", "value": value }] }],
    }))
}

/// A campaign from its start to its figures.
pub(crate) fn campaign(random: &mut StdRng) -> Vec<Sending> {
    let id = format!("campaign-{}", hex(random, 8));
    let total = random.random_range(3..9_u64) * 100;
    let failed = random.random_range(0..total / 50);
    let event = |kind: &str, data: Value| {
        let mut data = data;
        data["campaignId"] = json!(id);
        Sending::Event(json!({ "type": kind, "data": data }))
    };
    let about = json!({ "name": "Spring sale", "totalRecipients": total });
    let mut sendings = vec![event("campaign.started", json!({ "campaign": about }))];
    for sent in (100..=total).step_by(100) {
        let percentage = sent * 100 / total;
        let lost = failed * sent / total;
        let progress =
            json!({ "sent": sent, "total": total, "percentage": percentage, "failed": lost });
        sendings.push(event("campaign.progress", json!({ "progress": progress })));
    }
    let delivered = total - failed;
    let read = delivered * random.random_range(50..95) / 100;
    let stats = json!({
        "totalRecipients": total, "sentCount": total, "deliveredCount": delivered,
        "readCount": read, "failedCount": failed,
        "deliveryRate": rate(delivered, total), "readRate": rate(read, total),
    });
    sendings.push(event("campaign.completed", json!({ "stats": stats })));
    sendings
}

/// Per cent with one decimal.
fn rate(part: u64, whole: u64) -> f64 {
    let tenths = u32::try_from(part * 1_000 / whole).unwrap_or_default();
    f64::from(tenths) / 10.0
}

//! The five existing applications against the platform: each one's own kind of client, in code written from its own
//! guide, proves row by row what `tests/compatibility.toml` says of it.

mod rows;
mod stage;

use crate::harness::Service;
use crate::harness::cast::journey;
use stage::Stage;

#[tokio::test]
async fn the_call_dashboard_works_as_its_guide_says() {
    journey(240, Stage::new("000", "calls").with_twilio().play()).await;
}

#[tokio::test]
async fn ezri_works_as_its_guide_says() {
    journey(240, Stage::new("001", "ezri").with_ai().play()).await;
}

#[tokio::test]
async fn the_whatsapp_crm_works_as_its_reference_says() {
    journey(240, Stage::new("002", "whatsapp").play()).await;
}

#[tokio::test]
async fn the_callerdesk_crm_works_as_its_summary_says() {
    journey(240, Stage::new("003", "callerdesk").play()).await;
}

#[tokio::test]
async fn osbackend_works_as_its_guide_says() {
    let stage = Stage::new("004", "osbackend");
    journey(240, stage.set(Service::Gateway, "HEARTBEAT_MS", "2000").play()).await;
}

//! People and services that ask for decisions over HTTP, and insist until they have them.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::time::Instant;

use crate::clients::http::Request;
use crate::clients::token::{service, token};
use crate::harness::TENANT;

/// Somebody with a token.
#[derive(Clone)]
pub(crate) struct Desk {
    token: String,
    gateways: Vec<SocketAddr>,
}

impl Desk {
    pub(crate) fn screen(gateways: &[SocketAddr]) -> Self {
        Self { token: service(TENANT), gateways: gateways.to_vec() }
    }

    pub(crate) fn of(user: &str, role: &str, gateways: &[SocketAddr]) -> Self {
        Self { token: token(TENANT, user, role), gateways: gateways.to_vec() }
    }

    /// One attempt; `None` when nobody answered, or not with the decision.
    pub(crate) async fn ask(
        &self,
        gateway: usize,
        kind: &str,
        id: &str,
        data: &Json,
    ) -> Option<Json> {
        let body = json!({ "type": kind, "id": id, "data": data });
        let request = Request::post("/v1/commands").bearer(&self.token).json(&body);
        let gateway = self.gateways[gateway % self.gateways.len()];
        let asked = tokio::time::timeout(Duration::from_secs(5), request.send(gateway));
        let answer = asked.await.ok()?.ok()?;
        let told: Json = serde_json::from_slice(&answer.body).ok()?;
        let is_decided = answer.status == 200 || (400..429).contains(&answer.status);
        is_decided.then_some(told)
    }

    /// The same command again and again, at one gateway after the other, until it is decided.
    pub(crate) async fn insist(&self, kind: &str, id: &str, data: &Json) -> Json {
        let until = Instant::now() + Duration::from_secs(120);
        let mut gateway = 0;
        loop {
            if let Some(told) = self.ask(gateway, kind, id, data).await {
                return told;
            }
            assert!(Instant::now() < until, "{kind} {id} is never decided");
            tokio::time::sleep(Duration::from_millis(100)).await;
            gateway += 1;
        }
    }
}

//! A client of a running platform: where it is, what it is asked with, and how it refuses.
//! It speaks the public interfaces only.

mod sse;

use std::time::Duration;

use bytes::Bytes;
use domain::Role;
use http::request::Builder;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use runtime::http_client::{self, Limits};
use serde_json::Value;

use crate::data::{self, DataFolder, Endpoints};
use crate::failure::Failure;
use crate::token;

pub(crate) use sse::{Event, Events};

/// The largest page of history fits, and a slow answer is given up.
const LIMITS: Limits = Limits { deadline: Duration::from_secs(20), max_body: 64 * 1024 * 1024 };

/// Where the platform is and who asks. Whatever is not given comes from the data folder of `throughline up`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Target {
    #[command(flatten)]
    data: data::Location,
    /// Address of the gateway
    #[arg(long, env = "GATEWAY_URL", value_name = "URL")]
    gateway: Option<String>,
    /// Address of ingest
    #[arg(long, env = "INGEST_URL", value_name = "URL")]
    ingest: Option<String>,
    /// Token to use; without it one is made with the data folder's key
    #[arg(long, env = "THROUGHLINE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Role of the token that is made
    #[arg(long = "as", value_name = "ROLE", default_value = "admin", value_parser = token::role)]
    role: Role,
    /// Tenant of the token that is made
    #[arg(long)]
    tenant: Option<String>,
}

impl Target {
    pub(crate) fn gateway(&self) -> Result<Client, Failure> {
        let endpoints = self.endpoints();
        self.client(said(&self.gateway).unwrap_or(endpoints.gateway))
    }

    pub(crate) fn ingest(&self) -> Result<Client, Failure> {
        let endpoints = self.endpoints();
        self.client(said(&self.ingest).unwrap_or(endpoints.ingest))
    }

    /// The data folder, for commands that need more of it than a token.
    pub(crate) fn folder(&self) -> Result<DataFolder, Failure> {
        DataFolder::existing(&self.data.data)
    }

    fn endpoints(&self) -> Endpoints {
        DataFolder::existing(&self.data.data).map(|it| Endpoints::of(&it)).unwrap_or_default()
    }

    fn client(&self, base: String) -> Result<Client, Failure> {
        let token = match said(&self.token) {
            Some(token) => token,
            None => {
                let folder = self.folder()?;
                let tenant = self.tenant.clone().unwrap_or_else(|| Endpoints::of(&folder).tenant);
                token::mint(&folder, &token::Wanted::new(self.role, tenant))?
            }
        };
        Client::new(base, token)
    }
}

/// What a variable holds; nothing where it is set and empty.
fn said(value: &Option<String>) -> Option<String> {
    value.clone().filter(|it| !it.trim().is_empty())
}

#[derive(Debug, Clone)]
pub(crate) struct Client {
    base: String,
    token: String,
    http: http_client::Client,
}

impl Client {
    pub(crate) fn new(base: String, token: String) -> Result<Self, Failure> {
        if !is_address(&base) {
            let told = "is no http or https address, such as http://localhost:8080";
            return Err(Failure::Usage(format!("{base:?} {told}")));
        }
        let http =
            http_client::Client::new(LIMITS).map_err(|error| Failure::failed("TLS", error))?;
        Ok(Self { base: base.trim_end_matches('/').to_owned(), token, http })
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Bytes, Failure> {
        self.send(self.request(Method::GET, path, true), Bytes::new()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Bytes, Failure> {
        let request = self
            .request(Method::POST, path, true)
            .header(http::header::CONTENT_TYPE, "application/json");
        self.send(request, body.to_string().into()).await
    }

    /// A request with headers of its own; a provider's carries no token of ours.
    pub(crate) fn request(&self, method: Method, path: &str, with_token: bool) -> Builder {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if with_token {
            request.header(http::header::AUTHORIZATION, format!("Bearer {}", self.token))
        } else {
            request
        }
    }

    /// The body of a success; a refusal is told in the platform's own words.
    pub(crate) async fn send(&self, request: Builder, body: Bytes) -> Result<Bytes, Failure> {
        let request = request.body(body).map_err(|error| Failure::Usage(error.to_string()))?;
        let answer = self.http.send(request).await.map_err(|error| self.unreachable(error))?;
        if answer.status().is_success() {
            return Ok(answer.into_body());
        }
        Err(refused(answer.status(), answer.body()))
    }

    /// An answer that goes on, for SSE; `Err` with the status when the server refuses.
    pub(crate) async fn open(
        &self,
        request: Builder,
    ) -> Result<Result<Response<Incoming>, (StatusCode, Failure)>, http_client::ClientError> {
        let request = request.body(Bytes::new()).unwrap_or_default();
        let answer = self.http.open(request).await?;
        if answer.status().is_success() {
            return Ok(Ok(answer));
        }
        let status = answer.status();
        let collected = tokio::time::timeout(LIMITS.deadline, answer.into_body().collect()).await;
        let body = collected.ok().and_then(Result::ok).map(|body| body.to_bytes());
        Ok(Err((status, refused(status, &body.unwrap_or_default()))))
    }

    pub(crate) fn unreachable(&self, error: http_client::ClientError) -> Failure {
        Failure::failed(format!("{} (is `throughline up` running?)", self.base), error)
    }
}

fn is_address(text: &str) -> bool {
    text.parse::<Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
    })
}

/// Problem details as one line.
fn refused(status: StatusCode, body: &[u8]) -> Failure {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |key: &str| problem.get(key).and_then(Value::as_str).unwrap_or_default();
    let detail = if text("detail").is_empty() { text("title") } else { text("detail") };
    match (text("code"), detail) {
        ("", "") => Failure::Failed(format!("refused: {status}")),
        (code, detail) => Failure::Failed(format!("refused: {status} ({code}): {detail}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_is_told_before_it_is_tried() {
        for bad in ["foo", "", "localhost:8080", "ftp://localhost", "http://"] {
            let told = Client::new(bad.to_owned(), String::new()).unwrap_err();
            assert!(matches!(told, Failure::Usage(_)), "{bad}");
        }
        Client::new("https://throughline.example.com/".to_owned(), String::new()).unwrap();
    }

    #[test]
    fn a_refusal_is_told_in_the_platforms_words() {
        let body =
            br#"{"title":"x","status":422,"detail":"/callSid is missing","code":"invalid_data"}"#;
        let Failure::Failed(told) = refused(StatusCode::UNPROCESSABLE_ENTITY, body) else {
            panic!()
        };
        assert_eq!(told, "refused: 422 Unprocessable Entity (invalid_data): /callSid is missing");
    }
}

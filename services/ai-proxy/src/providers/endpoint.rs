//! One AI service's address: requests go there and nowhere else, with deadlines and bounds on every answer.
//! Redirects are not followed; it must not know what is asked.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use runtime::config::Secret;
use runtime::http_client::{Client, ClientError, Limits};
use tokio::time::{Instant, timeout_at};

use super::{Failure, Reason};

/// What one request may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deadlines {
    pub connect: Duration,
    /// To the first word, or to the whole answer of a service that does not stream.
    pub first: Duration,
    /// Between two pieces.
    pub idle: Duration,
    pub total: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            first: Duration::from_secs(8),
            idle: Duration::from_secs(8),
            total: Duration::from_secs(60),
        }
    }
}

/// The longest that a service's `Retry-After` is believed.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
const MAX_WHOLE: usize = 1024 * 1024;
/// The longest answer that is sound: 8 MiB, in base64 where it is.
const MAX_SOUND: usize = 12 * 1024 * 1024;

pub struct Endpoint {
    client: Client,
    /// For answers that are sound, which take longer and are larger.
    sounding: Client,
    /// Without a slash at its end.
    base: String,
    key: Option<Secret>,
    pub(super) deadlines: Deadlines,
}

impl Endpoint {
    /// `client` must have been made with the connect deadline, which its connector keeps.
    pub fn new(client: Client, base: &str, key: Option<Secret>, deadlines: Deadlines) -> Self {
        let limits = Limits { deadline: deadlines.first, max_body: MAX_WHOLE };
        let base = base.trim_end_matches('/').to_owned();
        let sounding = Limits { deadline: deadlines.total, max_body: MAX_SOUND };
        let (client, sounding) = (client.limited(limits), client.limited(sounding));
        Self { client, sounding, base, key, deadlines }
    }

    /// Whether a text can be the base of an endpoint.
    pub fn is_base(text: &str) -> bool {
        text.parse::<Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some_and(|host| !host.is_empty())
                && uri.query().is_none()
        })
    }

    pub(super) fn post(
        &self,
        path: &str,
        content_type: &str,
        headers: &[(&'static str, &str)],
        body: Bytes,
    ) -> Result<Request<Bytes>, Failure> {
        let mut request =
            Request::post(format!("{}{path}", self.base)).header(CONTENT_TYPE, content_type);
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, format!("Bearer {}", key.expose()));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(body).map_err(|_| Reason::Unsupported.into())
    }

    pub(super) fn ends_with(&self, tail: &str) -> bool {
        self.base.ends_with(tail)
    }

    /// The head of a good answer; the caller reads the body.
    pub(super) async fn open(
        &self,
        request: Request<Bytes>,
    ) -> Result<Response<Incoming>, Failure> {
        let response = self.client.open(request).await.map_err(|error| failure(&error))?;
        judge(response.status(), response.headers())?;
        Ok(response)
    }

    /// The whole of a good answer.
    pub(super) async fn whole(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Failure> {
        let response = self.client.send(request).await.map_err(|error| failure(&error))?;
        judge(response.status(), response.headers())?;
        Ok(response)
    }
}

impl Endpoint {
    /// The whole of a good answer that is sound, or holds some.
    pub(super) async fn sound(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Failure> {
        let response = self.sounding.send(request).await.map_err(|error| failure(&error))?;
        judge(response.status(), response.headers())?;
        Ok(response)
    }
}

/// The next bytes of a body, at the latest at `deadline`; `None` at its end.
pub(super) async fn next(
    body: &mut Incoming,
    deadline: Instant,
    late: Reason,
) -> Result<Option<Bytes>, Failure> {
    loop {
        match timeout_at(deadline, body.frame()).await {
            Err(_) => return Err(late.into()),
            Ok(None) => return Ok(None),
            Ok(Some(Err(_))) => return Err(Reason::Truncated.into()),
            // Trailers are no data.
            Ok(Some(Ok(frame))) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}

fn failure(error: &ClientError) -> Failure {
    match error {
        ClientError::Address(_) => Reason::Unsupported,
        ClientError::Deadline(_) => Reason::Timeout,
        ClientError::TooLarge(_) => Reason::TooLarge,
        ClientError::Unreachable(_) => Reason::Unreachable,
        ClientError::BrokenOff(_) => Reason::Truncated,
    }
    .into()
}

fn judge(status: StatusCode, headers: &HeaderMap) -> Result<(), Failure> {
    let reason = match status.as_u16() {
        200..=299 => return Ok(()),
        300..=399 => Reason::Redirected,
        429 => Reason::RateLimited,
        408 | 409 | 425 | 500..=599 => Reason::Unavailable,
        _ => Reason::Refused,
    };
    Err(Failure { retry_after: retry_after(headers), ..reason.into() })
}

/// Seconds, or the milliseconds that some services give besides. A date would need a clock and is rare.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let seconds = number("retry-after-ms").map(|millis| millis / 1000.0);
    let seconds = seconds.or_else(|| number(RETRY_AFTER.as_str()))?;
    let asked = Duration::try_from_secs_f64(seconds).ok()?;
    Some(asked.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_http_address_without_a_query_is_a_base() {
        assert!(Endpoint::is_base("http://localhost:8000"));
        assert!(Endpoint::is_base("https://ai.example.com/v1/"));
        for bad in ["", "localhost:8000", "file:///etc/passwd", "http://", "http://a/?to=b"] {
            assert!(!Endpoint::is_base(bad), "{bad}");
        }
    }

    #[test]
    fn a_wait_the_service_asks_for_is_read_and_bounded() {
        let wait = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            judge(StatusCode::TOO_MANY_REQUESTS, &headers).unwrap_err().retry_after
        };
        assert_eq!(wait("retry-after", "2"), Some(Duration::from_secs(2)));
        assert_eq!(wait("retry-after-ms", "250"), Some(Duration::from_millis(250)));
        assert_eq!(wait("retry-after", "99999999"), Some(LONGEST_WAIT));
        assert_eq!(wait("retry-after", "-5"), None);
        assert_eq!(wait("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT"), None);
    }

    #[test]
    fn each_status_has_its_reason() {
        let reason = |status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            judge(status, &HeaderMap::new()).map_err(|failure| failure.reason)
        };
        assert_eq!(reason(200), Ok(()));
        assert_eq!(reason(302), Err(Reason::Redirected));
        assert_eq!(reason(429), Err(Reason::RateLimited));
        assert_eq!(reason(503), Err(Reason::Unavailable));
        assert_eq!(reason(401), Err(Reason::Refused));
    }
}

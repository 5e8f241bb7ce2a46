//! Twilio's REST interface, as far as calls are ended there.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use domain::call_status::CallStatus;
use http::{HeaderValue, Request, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use runtime::config::{Reader, Secret, TWILIO_ACCOUNT_SID, TWILIO_API_URL, TWILIO_AUTH_TOKEN};
use runtime::http_client::Client;
use serde::Deserialize;

/// Twilio's number for "the call is in no state in which that can be done".
const NOT_IN_PROGRESS: u32 = 21220;

/// An account whose calls can be ended.
#[derive(Clone)]
pub struct Twilio {
    base: String,
    account: String,
    token: Secret,
}

/// Nothing of the token.
impl fmt::Debug for Twilio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Twilio").field("account", &self.account).finish_non_exhaustive()
    }
}

/// Why a call is not ended.
#[derive(Debug)]
pub(super) enum Failed {
    /// Trying again may help.
    Attempt(String),
    Final(String),
}

#[derive(Deserialize, Default)]
struct Answer {
    #[serde(default)]
    code: u32,
    #[serde(default)]
    status: serde_json::Value,
}

impl Twilio {
    /// Both variables or neither.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let base = reader.text(&TWILIO_API_URL);
        let account = reader.optional(&TWILIO_ACCOUNT_SID);
        let token = reader.secret(&TWILIO_AUTH_TOKEN);
        let is_address = ["https://", "http://"].iter().any(|scheme| base.starts_with(scheme));
        if !is_address {
            reader.mistake(&TWILIO_API_URL, "is not an http or https address");
        }
        match (account, token) {
            (Some(account), Some(token)) => {
                let base = base.trim_end_matches('/').to_owned();
                Some(Self { base, account, token })
            }
            (Some(_), None) => {
                let problem = format!("missing; {} is set", TWILIO_ACCOUNT_SID.name);
                reader.mistake(&TWILIO_AUTH_TOKEN, problem);
                None
            }
            (None, Some(_)) => {
                let problem = format!("missing; {} is set", TWILIO_AUTH_TOKEN.name);
                reader.mistake(&TWILIO_ACCOUNT_SID, problem);
                None
            }
            (None, None) => None,
        }
    }

    #[cfg(test)]
    pub(super) fn at(base: &str) -> Self {
        let (base, account) = (base.to_owned(), "AC1".to_owned());
        Self { base, account, token: Secret::new("token") }
    }

    pub(super) async fn end(&self, client: &Client, call_sid: &str) -> Result<(), Failed> {
        let answer = self.ask(client, call_sid, Some("Status=completed")).await?;
        let status = answer.0;
        if status.is_success() {
            return Ok(());
        }
        // Perhaps an attempt before this one has ended it, and nobody heard of it.
        if answer.1.code == NOT_IN_PROGRESS && self.is_over(client, call_sid).await {
            return Ok(());
        }
        let told = format!("Twilio answered {}.", status.as_u16());
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            return Err(Failed::Attempt(told));
        }
        Err(Failed::Final(told))
    }

    async fn is_over(&self, client: &Client, call_sid: &str) -> bool {
        let answer = self.ask(client, call_sid, None).await;
        let status = answer.ok().and_then(|(_, answer)| answer.status.as_str().map(str::to_owned));
        status.is_some_and(|status| CallStatus::parse(&status).is_some_and(CallStatus::is_final))
    }

    async fn ask(
        &self,
        client: &Client,
        call_sid: &str,
        form: Option<&'static str>,
    ) -> Result<(StatusCode, Answer), Failed> {
        let request = self.request(call_sid, form);
        let request = request.map_err(|_| Failed::Final("The call has no address.".to_owned()))?;
        let answer = client.send(request).await;
        let answer =
            answer.map_err(|error| Failed::Attempt(format!("Twilio was not reached: {error}.")))?;
        let told = serde_json::from_slice(answer.body()).unwrap_or_default();
        Ok((answer.status(), told))
    }

    fn request(
        &self,
        call_sid: &str,
        form: Option<&'static str>,
    ) -> Result<Request<Bytes>, http::Error> {
        let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let (account, call) = (encoded(&self.account), encoded(call_sid));
        let address = format!("{}/2010-04-01/Accounts/{account}/Calls/{call}.json", self.base);
        let credentials = STANDARD.encode(format!("{}:{}", self.account, self.token.expose()));
        let mut authorization = HeaderValue::try_from(format!("Basic {credentials}"))?;
        authorization.set_sensitive(true);
        let request = match form {
            Some(_) => Request::post(address)
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded"),
            None => Request::get(address),
        };
        let request = request.header(header::AUTHORIZATION, authorization);
        request.body(Bytes::from_static(form.unwrap_or_default().as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use runtime::config::Mistakes;

    use super::*;

    fn read(given: &[(&str, &str)]) -> Result<Option<Twilio>, Mistakes> {
        let owned = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let strings: HashMap<String, String> = owned.collect();
        let mut reader = Reader::new(&strings);
        let twilio = Twilio::read(&mut reader);
        reader.finish(twilio)
    }

    #[test]
    fn half_a_configuration_is_a_mistake_and_none_is_none() {
        assert!(read(&[]).unwrap().is_none());
        for half in [("TWILIO_ACCOUNT_SID", "AC1"), ("TWILIO_AUTH_TOKEN", "t")] {
            assert!(read(&[half]).is_err(), "{}", half.0);
        }
        assert!(read(&[("TWILIO_API_URL", "ftp://x")]).is_err());
    }

    #[test]
    fn an_id_cannot_leave_its_place_in_the_address() {
        let given = [("TWILIO_ACCOUNT_SID", "AC1"), ("TWILIO_AUTH_TOKEN", "t")];
        let twilio = read(&given).unwrap().unwrap();
        let request = twilio.request("../../x?y", None).unwrap();
        let expected = "/2010-04-01/Accounts/AC1/Calls/%2E%2E%2F%2E%2E%2Fx%3Fy.json";
        assert_eq!(request.uri().path(), expected);
        assert_eq!(request.headers()[header::AUTHORIZATION], "Basic QUMxOnQ=");
        assert!(!format!("{twilio:?} {:?}", request.headers()).contains("QUMx"));
    }
}

//! From what a provider sends to the signed request that it makes of it.

use domain::signatures::{twilio, whatsapp};

use crate::failure::Failure;
use crate::simulate::sending::Sending;
use crate::sources::Sources;

pub(crate) struct Signed {
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// A backend's request carries its token; a provider's carries its signature.
    pub(crate) with_token: bool,
}

impl Signed {
    pub(crate) fn new(sending: &Sending, sources: &Sources) -> Result<Self, Failure> {
        match sending {
            Sending::Twilio { kind, fields } => Self::twilio(kind, fields, sources),
            Sending::CallerDesk(payload) => {
                let source = sources.of("callerdesk")?;
                let path = format!("/webhooks/{}/events/{}", source.name, source.secret());
                Ok(Self::json(path, payload.to_string().into_bytes(), false))
            }
            Sending::WhatsApp(payload) => {
                let source = sources.of("whatsapp")?;
                let body = payload.to_string().into_bytes();
                let signature = whatsapp::sign(source.secret().as_bytes(), &body);
                let mut signed =
                    Self::json(format!("/webhooks/{}/events", source.name), body, false);
                signed.headers.push((whatsapp::HEADER, signature));
                Ok(signed)
            }
            Sending::Event(event) => {
                Ok(Self::json("/v1/events".to_owned(), event.to_string().into_bytes(), true))
            }
        }
    }

    pub(crate) fn twilio(
        kind: &str,
        fields: &[(&'static str, String)],
        sources: &Sources,
    ) -> Result<Self, Failure> {
        let source = sources.of("twilio")?;
        let path = format!("/webhooks/{}/{kind}", source.name);
        let mut form = form_urlencoded::Serializer::new(String::new());
        for (name, value) in fields {
            form.append_pair(name, value);
        }
        let body = form.finish().into_bytes();
        let url = format!("{}{path}", source.public_url.trim_end_matches('/'));
        let signature = twilio::sign_form(source.secret().as_bytes(), &url, &body);
        let headers = vec![
            ("content-type", "application/x-www-form-urlencoded".to_owned()),
            (twilio::HEADER, signature),
        ];
        Ok(Self { path, headers, body, with_token: false })
    }

    fn json(path: String, body: Vec<u8>, with_token: bool) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { path, headers, body, with_token }
    }
}

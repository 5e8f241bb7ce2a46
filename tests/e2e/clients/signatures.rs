//! Webhooks signed as their providers sign them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::http::{Request, encode};
use super::token::now;

/// A form whose signature covers the public URL and all parameters in order of their names.
pub(crate) fn twilio(path: &str, public_url: &str, token: &str, form: &[(&str, &str)]) -> Request {
    let mut sorted = form.to_vec();
    sorted.sort_unstable();
    let signed: String = sorted.iter().map(|(name, value)| format!("{name}{value}")).collect();
    let mut mac = Hmac::<Sha1>::new_from_slice(token.as_bytes()).unwrap();
    mac.update(format!("{public_url}{path}{signed}").as_bytes());
    let body: Vec<_> =
        form.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    Request::post(path)
        .header("X-Twilio-Signature", &BASE64.encode(mac.finalize().into_bytes()))
        .body("application/x-www-form-urlencoded", body.join("&"))
}

/// JSON whose hash stands in the address, which alone is signed.
pub(crate) fn twilio_json(path: &str, public_url: &str, token: &str, body: &str) -> Request {
    let hash: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
    let target = format!("{path}?bodySHA256={hash}");
    let mut mac = Hmac::<Sha1>::new_from_slice(token.as_bytes()).unwrap();
    mac.update(format!("{public_url}{target}").as_bytes());
    Request::post(&target)
        .header("X-Twilio-Signature", &BASE64.encode(mac.finalize().into_bytes()))
        .body("application/json", body)
}

pub(crate) fn whatsapp(path: &str, secret: &str, body: &str) -> Request {
    Request::post(path)
        .header("X-Hub-Signature-256", &format!("sha256={}", hex(secret.as_bytes(), body)))
        .body("application/json", body)
}

pub(crate) fn elevenlabs(path: &str, secret: &str, body: &str) -> Request {
    elevenlabs_at(now(), path, secret, body)
}

pub(crate) fn elevenlabs_at(at: i64, path: &str, secret: &str, body: &str) -> Request {
    let signature = hex(secret.as_bytes(), &format!("{at}.{body}"));
    Request::post(path)
        .header("ElevenLabs-Signature", &format!("t={at},v0={signature}"))
        .body("application/json", body)
}

/// `secret` as handed out: `whsec_` and base64.
pub(crate) fn standard(path: &str, secret: &str, id: &str, body: &str) -> Request {
    let key = BASE64.decode(secret.trim_start_matches("whsec_")).unwrap();
    let at = now();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{id}.{at}.{body}").as_bytes());
    let signature = BASE64.encode(mac.finalize().into_bytes());
    Request::post(path)
        .header("webhook-id", id)
        .header("webhook-timestamp", &at.to_string())
        .header("webhook-signature", &format!("v1,{signature}"))
        .body("application/json", body)
}

fn hex(key: &[u8], text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

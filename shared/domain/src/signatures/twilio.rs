//! `X-Twilio-Signature`: HMAC-SHA1 of the URL and the sorted form parameters, or of the URL alone when it
//! carries the hash of a JSON body. The URL is the configured one; request headers are no source for it.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Reason, any_match, constant_time_eq, hmac_sha1, present, sha256_hex};

pub const HEADER: &str = "x-twilio-signature";
const BODY_HASH: &str = "bodySHA256";

/// What a query written anew leaves as it is (`encodeURIComponent`).
const KEPT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// `url` is the public one with path and query as requested; `body` is empty for a GET.
pub fn verify<S: AsRef<[u8]>>(
    tokens: &[S],
    url: &str,
    signature: Option<&str>,
    body: &[u8],
) -> Result<(), Reason> {
    let given = present(signature)?;
    if STANDARD.decode(given).map_or(true, |mac| mac.len() != 20) {
        return Err(Reason::Malformed);
    }
    let parameters = match body_hash(url) {
        Some(hash)
            if constant_time_eq(
                hash.to_ascii_lowercase().as_bytes(),
                sha256_hex(body).as_bytes(),
            ) =>
        {
            String::new()
        }
        Some(_) => return Err(Reason::Mismatch),
        None => parameters(body),
    };
    // Signers disagree on the port and on how a query is encoded, so each way of writing it may match.
    let matched = variants(url).any(|url| {
        let mac = |token: &[u8]| {
            STANDARD.encode(hmac_sha1(token, &[url.as_bytes(), parameters.as_bytes()]))
        };
        any_match(tokens, &[given], |token| mac(token).into_bytes()).is_ok()
    });
    if matched { Ok(()) } else { Err(Reason::Mismatch) }
}

/// The header's value for a form body.
pub fn sign_form(token: &[u8], url: &str, body: &[u8]) -> String {
    STANDARD
        .encode(hmac_sha1(token, &[without_fragment(url).as_bytes(), parameters(body).as_bytes()]))
}

/// The URL with the body's hash, and the header's value, for a JSON body.
pub fn sign_json(token: &[u8], url: &str, body: &[u8]) -> (String, String) {
    let url = without_fragment(url);
    let separator = if url.contains('?') { '&' } else { '?' };
    let url = format!("{url}{separator}{BODY_HASH}={}", sha256_hex(body));
    let signature = STANDARD.encode(hmac_sha1(token, &[url.as_bytes()]));
    (url, signature)
}

/// Every parameter as name and value, sorted by name; of a repeated one its distinct values, sorted.
fn parameters(body: &[u8]) -> String {
    let mut sorted: Vec<(Cow<'_, str>, Cow<'_, str>)> = form_urlencoded::parse(body).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let mut text = String::with_capacity(body.len());
    for (name, value) in sorted {
        text.push_str(&name);
        text.push_str(&value);
    }
    text
}

fn body_hash(url: &str) -> Option<String> {
    let (_, query) = without_fragment(url).split_once('?')?;
    let (_, hash) = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == BODY_HASH)?;
    Some(hash.into_owned())
}

fn without_fragment(url: &str) -> &str {
    url.split_once('#').map_or(url, |(url, _)| url)
}

/// Without a port and with one, each with its query as it is and written anew. Which of them a signer has used is no
/// secret, so nobody needs those behind the one that matches.
fn variants(url: &str) -> impl Iterator<Item = String> {
    let url = without_fragment(url);
    let whole = url.split_once("://").map(|(scheme, rest)| {
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        (scheme, authority, path)
    });
    let as_it_is = whole.is_none().then(|| url.to_owned());
    as_it_is.into_iter().chain(whole.into_iter().flat_map(written))
}

fn written<'a>(
    (scheme, authority, path): (&'a str, &'a str, &'a str),
) -> impl Iterator<Item = String> + 'a {
    let host_end = authority.rfind([':', ']', '@']).filter(|&at| authority.as_bytes()[at] == b':');
    let host = &authority[..host_end.unwrap_or(authority.len())];
    let port = match host_end {
        Some(at) => &authority[at..],
        None if scheme.eq_ignore_ascii_case("http") => ":80",
        None => ":443",
    };
    let both = move |path: String| {
        ["", port].into_iter().map(move |port| [scheme, "://", host, port, &path].concat())
    };
    let anew = path
        .split_once('?')
        .into_iter()
        .flat_map(move |(path, query)| both(format!("{path}?{}", rewritten(query))));
    both(path.to_owned()).chain(anew)
}

fn rewritten(query: &str) -> String {
    let pair = |(name, value): (_, _)| {
        let encode = |text: std::borrow::Cow<'_, str>| utf8_percent_encode(&text, KEPT).to_string();
        format!("{}={}", encode(name), encode(value))
    };
    form_urlencoded::parse(query.as_bytes()).map(pair).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests;

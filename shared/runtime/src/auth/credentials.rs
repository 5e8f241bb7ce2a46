//! What a request brought to show who it is. Nothing here is verified, and nothing of it is ever logged.

use http::header::{AUTHORIZATION, COOKIE, ORIGIN};
use http::{HeaderMap, HeaderValue};

use crate::config::Secret;

/// Where tokens may stand, in the order in which they count: `Authorization` with or without `Bearer`,
/// `X-Auth-Token`, `?token=`.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    pub token: Option<Secret>,
    pub origin: Option<String>,
    pub(super) authorization: Option<HeaderValue>,
    pub(super) cookie: Option<HeaderValue>,
    /// The browser says that another site made it send this.
    pub(super) cross_site: bool,
}

impl Credentials {
    pub fn of(headers: &HeaderMap, query: Option<&str>) -> Self {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let authorization = headers.get(AUTHORIZATION);
        let token = text(AUTHORIZATION)
            .and_then(bearer)
            .or_else(|| headers.get("x-auth-token")?.to_str().ok())
            .map(str::trim)
            .filter(|token| !token.is_empty())
            .map(str::to_owned)
            .or_else(|| query_token(query?));
        let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
        Self {
            token: token.map(Secret::new),
            origin: text(ORIGIN).map(str::to_owned),
            authorization: authorization.and_then(sensitive),
            cookie: headers.get(COOKIE).and_then(sensitive),
            cross_site: matches!(site, Some(b"cross-site" | b"same-site")),
        }
    }

    /// A token sent in band (Socket.IO's `auth.token`, WebSocket's `auth`) counts before any other.
    #[must_use]
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        let token: String = token.into();
        let bare = bearer(&token).map(str::trim).filter(|token| !token.is_empty());
        if let Some(token) = bare {
            self.token = Some(Secret::new(token));
        }
        self
    }

    /// For WebSockets, which other sites can open with the user's cookies.
    #[must_use]
    pub fn without_cookies(mut self) -> Self {
        self.cookie = None;
        self
    }

    pub(super) fn cookie_named(&self, name: &str) -> Option<&str> {
        let pairs = self.cookie.as_ref()?.to_str().ok()?.split(';');
        let mut found = pairs.filter_map(|pair| pair.trim().split_once('='));
        let (_, value) = found.find(|(key, _)| *key == name)?;
        Some(value.trim_matches('"')).filter(|value| !value.is_empty())
    }
}

/// `Bearer x` and a bare `x`; other schemes hold no token.
fn bearer(value: &str) -> Option<&str> {
    match value.trim().split_once(' ') {
        None => Some(value).filter(|value| !value.trim().eq_ignore_ascii_case("bearer")),
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Some(token),
        Some(_) => None,
    }
}

fn query_token(query: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let (_, token) = pairs.find(|(name, token)| name == "token" && !token.is_empty())?;
    Some(token.into_owned())
}

/// A copy of its own: a connection may keep it for days, and a slice would keep the whole head of the request.
fn sensitive(value: &HeaderValue) -> Option<HeaderValue> {
    let mut copy = HeaderValue::from_bytes(value.as_bytes()).ok()?;
    copy.set_sensitive(true);
    Some(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn token(headers: &[(&'static str, &str)], query: Option<&str>) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        Credentials::of(&map, query).token.map(|token| token.expose().to_owned())
    }

    #[test]
    fn a_token_is_found_in_each_of_its_places() {
        let found = [
            token(&[("authorization", "Bearer t")], None),
            token(&[("authorization", "bearer  t")], None),
            token(&[("authorization", "t")], None),
            token(&[("x-auth-token", "t")], None),
            token(&[], Some("clientId=7&token=t")),
            token(&[("authorization", "Bearer t"), ("x-auth-token", "u")], Some("token=v")),
            token(&[("authorization", "Basic dTpw"), ("x-auth-token", "t")], None),
        ];
        assert!(found.iter().all(|token| token.as_deref() == Some("t")), "{found:?}");
        assert_eq!(token(&[("authorization", "Basic dTpw")], Some("token=")), None);
        assert_eq!(token(&[("authorization", "Bearer ")], None), None);
    }

    #[test]
    fn a_token_in_band_counts_before_the_others() {
        let credentials = Credentials::of(&HeaderMap::new(), Some("token=query"));
        let token = credentials.clone().with_token("Bearer band").token.unwrap();
        assert_eq!(token.expose(), "band");
        assert_eq!(credentials.with_token("").token.unwrap().expose(), "query");
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let mut map = HeaderMap::new();
        map.insert(COOKIE, "xtoken=no; token=\"yes\"; token2=no".parse().unwrap());
        let credentials = Credentials::of(&map, None);
        assert_eq!(credentials.cookie_named("token"), Some("yes"));
        assert_eq!(credentials.cookie_named("oken"), None);
        assert_eq!(credentials.without_cookies().cookie_named("token"), None);
    }

    #[test]
    fn nothing_of_it_is_shown() {
        let mut map = HeaderMap::new();
        map.insert(COOKIE, "token=hunter2".parse().unwrap());
        map.insert(AUTHORIZATION, "Bearer hunter2".parse().unwrap());
        let shown = format!("{:?}", Credentials::of(&map, None));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

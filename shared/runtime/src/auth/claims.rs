//! From verified claims to an identity, by the rules of the application that they belong to.

use std::sync::Arc;

use domain::channel::Channel;
use domain::identity::{Glob, Identity, Role};
use domain::token::Tenant;
use serde::Deserialize;
use serde_json::Value;

use crate::auth::AuthError;
use crate::auth::applications::{Application, Expiry, TenantRule};

/// How far the clocks of issuer and platform may differ for `nbf`. `exp` has no leeway.
const LEEWAY_SECONDS: f64 = 60.0;
/// Stands for the key of claims that no key verified: another system vouched for them.
pub(super) const NO_KEY: u64 = Identity::NO_KEY;
const LONGEST_TEXT: usize = 256;
const MOST_GLOBS: usize = 200;

#[derive(Deserialize)]
pub(super) struct Claims {
    pub(super) iss: Option<String>,
    aud: Option<Value>,
    exp: Option<f64>,
    nbf: Option<f64>,
    sub: Option<Value>,
    #[serde(rename = "userId")]
    user_id: Option<Value>,
    tenant: Option<Value>,
    #[serde(rename = "workspaceId")]
    workspace_id: Option<Value>,
    role: Option<Value>,
    roles: Option<Value>,
    email: Option<Value>,
    channels: Option<Value>,
    publish: Option<Value>,
    jti: Option<Value>,
}

impl Claims {
    /// `now` is in Unix seconds; `key` is the id of the key that verified the claims.
    pub(super) fn identity(
        self,
        application: &Application,
        key: u64,
        now: i64,
    ) -> Result<Identity, AuthError> {
        let expires_at = self.within_its_time(application.expiry, key == NO_KEY, now)?;
        if let Some(audience) = &application.audience
            && !texts(self.aud.as_ref()).contains(&audience.as_str())
        {
            return Err(AuthError::Audience);
        }
        let user = text(self.sub.as_ref().or(self.user_id.as_ref()));
        Ok(Identity {
            tenant: self.tenant(&application.tenant)?,
            user: user.filter(|user| is_user(user)).ok_or(AuthError::Claim("sub"))?.into(),
            role: self.role(application),
            email: short(self.email.as_ref()),
            channels: globs(self.channels.as_ref()),
            publish: globs(self.publish.as_ref()),
            expires_at,
            token_id: short(self.jti.as_ref()),
            application: application.name.clone(),
            key,
        })
    }

    /// The moment that ends its connections, if there is one.
    fn within_its_time(
        &self,
        rule: Expiry,
        vouched: bool,
        now: i64,
    ) -> Result<Option<i64>, AuthError> {
        #[expect(clippy::cast_precision_loss, reason = "exact for 285 million years")]
        let now = now as f64;
        if self.nbf.is_some_and(|from| from > now + LEEWAY_SECONDS) {
            return Err(AuthError::NotYet);
        }
        #[expect(clippy::cast_possible_truncation, reason = "saturates at the end of time")]
        let expires_at = self.exp.map(|exp| exp.floor() as i64);
        match (rule, self.exp) {
            (_, Some(exp)) if exp <= now => Err(AuthError::Expired),
            (Expiry::Required, None) if vouched => Ok(None),
            (Expiry::Required, None) => Err(AuthError::Claim("exp")),
            (Expiry::Required, Some(_)) => Ok(expires_at),
            (Expiry::AtConnect, _) => Ok(None),
        }
    }

    fn tenant(&self, rule: &TenantRule) -> Result<Tenant, AuthError> {
        let claimed = match rule {
            TenantRule::Fixed(tenant) => return Ok(tenant.clone()),
            TenantRule::FromToken { .. } => self.tenant.as_ref().or(self.workspace_id.as_ref()),
        };
        match (claimed, rule) {
            (None, TenantRule::FromToken { otherwise: Some(tenant) }) => Ok(tenant.clone()),
            _ => text(claimed)
                .and_then(|text| Tenant::parse(&text).ok())
                .ok_or(AuthError::Claim("tenant")),
        }
    }

    /// The strongest of the roles it names: the application's words first, then the platform's own.
    fn role(&self, application: &Application) -> Role {
        let named = texts(self.role.as_ref()).into_iter().chain(texts(self.roles.as_ref()));
        let known = named
            .filter_map(|name| application.roles.get(name).copied().or_else(|| Role::parse(name)));
        known.max().unwrap_or(application.default_role)
    }
}

/// A text, or a number as its decimal text, which is how 001 and 002 write user ids.
fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_u64() => Some(number.to_string()),
        _ => None,
    }
}

fn texts(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn short(value: Option<&Value>) -> Option<Arc<str>> {
    text(value).filter(|text| text.len() <= LONGEST_TEXT).map(Arc::from)
}

fn globs(value: Option<&Value>) -> Vec<Glob> {
    texts(value).into_iter().take(MOST_GLOBS).map(Glob::new).collect()
}

/// Whether the user can have a channel of its own. A percent sign could make two users share one,
/// since channels encode what they cannot hold, and so could white space at the ends, which headers lose.
fn is_user(user: &str) -> bool {
    !user.contains(|c: char| c == '%' || c.is_control())
        && user.trim() == user
        && Channel::with_id("user", user).is_ok()
}

//! Who may connect: `APPLICATIONS_FILE`, and the variables that are the shorthand for one application.
//! It must not know tokens; it only says by what rules they are judged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::identity::Role;
use domain::token::Tenant;
use http::Uri;

use crate::config::{
    ALLOWED_ORIGINS, APPLICATIONS_FILE, DEFAULT_TENANT, FRONTEND_URL, JWT_AUDIENCE, JWT_ISSUER,
    JWT_JWKS_URL, JWT_PUBLIC_KEY_FILE, JWT_SECRET, Mistakes, Reader, Secret,
};

mod entry;
mod file;
#[cfg(test)]
mod tests;

pub(super) use file::parse;

/// The name of the application that the variables describe.
pub const SHORTHAND: &str = "default";
/// The word for a tenant that the token names.
const FROM_TOKEN: &str = "from-token";

#[derive(Clone, PartialEq, Debug)]
pub struct Application {
    pub name: Arc<str>,
    pub tenant: TenantRule,
    /// Exact browser origins.
    pub origins: Vec<String>,
    pub key: Option<KeySource>,
    pub issuer: Option<String>,
    pub audience: Option<String>,
    pub expiry: Expiry,
    /// The application's own words for roles.
    pub roles: BTreeMap<String, Role>,
    /// For a missing or unknown role.
    pub default_role: Role,
    /// Of connections without any credential from these origins; `None` refuses them.
    pub anonymous: Option<Role>,
    pub cookie: Option<String>,
    /// Where cookies and authorizations are judged that are no JWT.
    pub auth_proxy: Option<Uri>,
}

#[derive(Clone, PartialEq, Debug)]
pub enum TenantRule {
    Fixed(Tenant),
    /// The claim `tenant` or `workspaceId`, else `otherwise`.
    FromToken {
        otherwise: Option<Tenant>,
    },
}

impl TenantRule {
    /// The tenant of somebody who brings no claims.
    pub(super) fn without_token(&self) -> Option<Tenant> {
        match self {
            Self::Fixed(tenant) | Self::FromToken { otherwise: Some(tenant) } => {
                Some(tenant.clone())
            }
            Self::FromToken { otherwise: None } => None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expiry {
    /// Tokens must expire, and so do the connections they opened.
    Required,
    /// Checked when connecting and never again; tokens without `exp` are accepted.
    AtConnect,
}

#[derive(Clone, PartialEq, Debug)]
pub enum KeySource {
    Secret(Secret),
    /// PEM.
    Public(Vec<u8>),
    Jwks(Uri),
}

/// What the configuration says about authentication.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The one of the variables, kept when the file is read again.
    pub shorthand: Option<Application>,
    pub file: Option<PathBuf>,
    /// All of them.
    pub applications: Vec<Application>,
    /// Origins that belong to no particular application.
    pub origins: Vec<String>,
    /// Pages served from this machine may connect besides; for development.
    pub localhost: bool,
}

impl Settings {
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let origins = origins(reader);
        let shorthand = shorthand(reader, &origins);
        let file = reader.path(&APPLICATIONS_FILE);
        let applications = load(file.as_deref(), shorthand.as_ref());
        let applications = applications.unwrap_or_else(|mistakes| {
            reader.mistakes(mistakes);
            Vec::new()
        });
        if file.is_none() && shorthand.is_none() && !names_a_key(reader) {
            let text = "missing; set it, JWT_PUBLIC_KEY_FILE, JWT_JWKS_URL or APPLICATIONS_FILE";
            reader.mistake(&JWT_SECRET, text);
        }
        Self { shorthand, file, applications, origins, localhost: false }
    }
}

/// The applications of the file and the shorthand together, or everything that is wrong.
pub(super) fn load(
    file: Option<&Path>,
    shorthand: Option<&Application>,
) -> Result<Vec<Application>, Mistakes> {
    let mut applications = match file {
        None => Vec::new(),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| {
                Mistakes::one(format!(
                    "APPLICATIONS_FILE: {} cannot be read: {error}",
                    path.display()
                ))
            })?;
            parse(&text, path.parent())?
        }
    };
    applications.extend(shorthand.cloned());
    let mistakes = ambiguities(&applications);
    if mistakes.is_empty() { Ok(applications) } else { Err(Mistakes(mistakes)) }
}

/// Two applications that cannot be told apart by what a token holds would make its tenant a matter of order.
fn ambiguities(applications: &[Application]) -> Vec<String> {
    let mut mistakes = Vec::new();
    for (index, one) in applications.iter().enumerate() {
        for other in &applications[..index] {
            if one.name == other.name {
                mistakes
                    .push(format!("APPLICATIONS_FILE: application {:?} is there twice", one.name));
            } else if one.key.is_some() && one.key == other.key && one.issuer == other.issuer {
                mistakes.push(format!(
                    "APPLICATIONS_FILE: applications {:?} and {:?} have the same key; give each an issuer",
                    other.name, one.name
                ));
            }
        }
    }
    mistakes
}

fn origins(reader: &mut Reader<'_>) -> Vec<String> {
    let mut origins = Vec::new();
    for variable in [&ALLOWED_ORIGINS, &FRONTEND_URL] {
        for origin in reader.list(variable) {
            match entry::origin(&origin) {
                Some(origin) => origins.push(origin),
                None => reader.mistake(variable, entry::not_an_origin(&origin)),
            }
        }
    }
    origins
}

fn names_a_key(reader: &Reader<'_>) -> bool {
    [&JWT_PUBLIC_KEY_FILE, &JWT_JWKS_URL].into_iter().any(|name| reader.given(name).is_some())
        || reader.is_given(&JWT_SECRET)
}

fn shorthand(reader: &mut Reader<'_>, origins: &[String]) -> Option<Application> {
    let tenant = reader.text(&DEFAULT_TENANT);
    let otherwise = match Tenant::parse(&tenant) {
        _ if tenant == FROM_TOKEN => None,
        Ok(tenant) => Some(tenant),
        Err(error) => {
            reader.mistake(&DEFAULT_TENANT, format_args!("{tenant:?} {error}, or {FROM_TOKEN}"));
            None
        }
    };
    let key = shorthand_key(reader)?;
    Some(Application {
        name: SHORTHAND.into(),
        tenant: TenantRule::FromToken { otherwise },
        origins: origins.to_vec(),
        key: Some(key),
        issuer: reader.optional(&JWT_ISSUER),
        audience: reader.optional(&JWT_AUDIENCE),
        expiry: Expiry::Required,
        roles: BTreeMap::new(),
        default_role: Role::User,
        anonymous: None,
        cookie: None,
        auth_proxy: None,
    })
}

fn shorthand_key(reader: &mut Reader<'_>) -> Option<KeySource> {
    let secret = reader.secret(&JWT_SECRET).map(KeySource::Secret);
    let public = reader.path(&JWT_PUBLIC_KEY_FILE).and_then(|path| {
        let read = entry::public_key(&path);
        read.map_err(|text| reader.mistake(&JWT_PUBLIC_KEY_FILE, text)).ok()
    });
    let set = reader.optional(&JWT_JWKS_URL).and_then(|url| {
        let address = entry::address(&url).map(KeySource::Jwks);
        if address.is_none() {
            reader.mistake(&JWT_JWKS_URL, entry::not_an_address(&url));
        }
        address
    });
    let mut keys: Vec<_> = [secret, public, set].into_iter().flatten().collect();
    if keys.len() > 1 {
        let text = "keep one of JWT_SECRET, JWT_PUBLIC_KEY_FILE and JWT_JWKS_URL";
        reader.mistake(&JWT_SECRET, text);
    }
    keys.pop()
}

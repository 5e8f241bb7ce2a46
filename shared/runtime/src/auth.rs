//! Who is there: tokens, cookies, sessions of other systems and anonymous visitors become one `Identity`.
//! It must not know what an identity may do; that is the catalogue's business.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use domain::identity::{Identity, Role};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::{APPLICATIONS_FILE, Mistakes, on_hangup};
use crate::http::Origins;
use crate::http_client::{Client, Limits};
use crate::ids;
use crate::tasks::BoxError;

mod applications;
mod claims;
mod credentials;
mod error;
mod jwks;
mod keys;
mod proxy;
mod revocations;
mod state;
#[cfg(test)]
mod tests;
mod token;
mod tokens;

pub use applications::{Application, Expiry, KeySource, SHORTHAND, Settings, TenantRule};
pub use credentials::Credentials;
pub use error::AuthError;
pub use revocations::{Revocation, Revocations, Revoked, TooMany};
pub use tokens::{MintError, NewToken};

use state::State;

/// How long a key set or a session check may take; a client waits for it.
const ASK: Limits = Limits { deadline: Duration::from_secs(3), max_body: 256 * 1024 };

/// Somebody who was let in.
#[derive(Clone, Debug)]
pub struct Admitted {
    pub identity: Identity,
    /// Set where another system vouched: `authenticate` it again every 60 s, since nothing tells when the session ends.
    pub ask_again: Option<Credentials>,
}

/// A cheap-clone handle that all connections of a service share.
#[derive(Clone)]
pub struct Authenticator(Arc<Inner>);

struct Inner {
    state: RwLock<Arc<State>>,
    file: Option<PathBuf>,
    shorthand: Option<Application>,
    /// Origins of no particular application.
    more_origins: Vec<String>,
    localhost: bool,
    origins: Origins,
    keys: keys::KeyMaker,
    client: Client,
    revocations: Revocations,
    /// Rises when keys or applications have gone or come.
    changes: watch::Sender<u64>,
    refresh: Notify,
}

impl Authenticator {
    pub fn new(settings: Settings, client: &Client) -> Self {
        let keys = keys::KeyMaker::default();
        let state = State::new(settings.applications, &State::default(), &keys);
        let origins = Origins::new(settings.origins.iter().cloned().chain(state.origins()));
        let origins = if settings.localhost { origins.with_localhost() } else { origins };
        Self(Arc::new(Inner {
            state: RwLock::new(Arc::new(state)),
            file: settings.file,
            shorthand: settings.shorthand,
            more_origins: settings.origins,
            localhost: settings.localhost,
            origins,
            keys,
            client: client.limited(ASK),
            revocations: Revocations::new(),
            changes: watch::Sender::new(0),
            refresh: Notify::new(),
        }))
    }

    /// The identity in a token, by the application that its issuer or else its key belongs to.
    pub fn verify(&self, token: &str) -> Result<Identity, AuthError> {
        self.verify_at(token, clock::unix_seconds())
    }

    pub fn verify_at(&self, token: &str, now: i64) -> Result<Identity, AuthError> {
        let parts = token::parse(token)?;
        let state = self.state();
        let (application, key) = state.verifier(&parts)?;
        let identity = parts.claims.identity(application, key, now)?;
        self.unless_revoked(identity, now)
    }

    /// Whoever sent these credentials: a token wins over a cookie, a cookie over being anonymous.
    /// A credential that is wrong is refused, never overlooked.
    pub async fn authenticate(&self, credentials: &Credentials) -> Result<Admitted, AuthError> {
        let checked = match &credentials.token {
            Some(token) => Some(self.verify(token.expose())),
            None => self.by_cookie(credentials),
        };
        match checked {
            Some(Ok(identity)) => Ok(Admitted { identity, ask_again: None }),
            Some(Err(error)) => match self.by_proxy(credentials).await {
                Some(vouched) => vouched,
                None => Err(error),
            },
            None => match self.by_proxy(credentials).await {
                Some(vouched) => vouched,
                None => Ok(Admitted { identity: self.anonymous(credentials)?, ask_again: None }),
            },
        }
    }

    /// Whether somebody who was let in before still may be: not expired, not revoked, key and application still there.
    pub fn still_valid(&self, identity: &Identity) -> Result<(), AuthError> {
        self.still_valid_at(identity, clock::unix_seconds())
    }

    pub fn still_valid_at(&self, identity: &Identity, now: i64) -> Result<(), AuthError> {
        if identity.expires_at.is_some_and(|at| at <= now) {
            return Err(AuthError::Expired);
        }
        if self.0.revocations.is_revoked(identity, now) {
            return Err(AuthError::Revoked);
        }
        if self.state().still_lets_in(identity) { Ok(()) } else { Err(AuthError::Withdrawn) }
    }

    /// The browser origins of all applications; follows reloads.
    pub fn origins(&self) -> Origins {
        self.0.origins.clone()
    }

    pub fn revocations(&self) -> &Revocations {
        &self.0.revocations
    }

    /// Changes when keys or applications have: then every live identity is to be asked by `still_valid`.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Whether every key set has been fetched once.
    pub fn knows_its_keys(&self) -> bool {
        self.state().knows_its_keys()
    }

    /// Keeps key sets fresh and reads the file again on SIGHUP, until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), BoxError> {
        let hangups = on_hangup(APPLICATIONS_FILE.name, shutdown.clone(), || self.reload());
        let (hangups, ()) = tokio::join!(hangups, self.keep_fresh(shutdown.clone()));
        hangups
    }

    /// Reads the file again, if there is one. With mistakes in it nothing changes.
    pub fn reload(&self) -> Result<(), Mistakes> {
        let Some(file) = &self.0.file else { return Ok(()) };
        let loaded = applications::load(Some(file), self.0.shorthand.as_ref())?;
        let before = self.state();
        let state = State::new(loaded, &before, &self.0.keys);
        self.0.origins.replace(self.0.more_origins.iter().cloned().chain(state.origins()));
        *self.0.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
        self.changed();
        self.0.refresh.notify_one();
        Ok(())
    }

    fn state(&self) -> Arc<State> {
        self.0.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn changed(&self) {
        self.0.changes.send_modify(|generation| *generation += 1);
    }

    fn unless_revoked(&self, identity: Identity, now: i64) -> Result<Identity, AuthError> {
        let revoked = self.0.revocations.is_revoked(&identity, now);
        if revoked { Err(AuthError::Revoked) } else { Ok(identity) }
    }

    /// `None` when no application's cookie is there.
    fn by_cookie(&self, credentials: &Credentials) -> Option<Result<Identity, AuthError>> {
        let state = self.state();
        let mut applications = state.applications();
        let (application, token) = applications.find_map(|application| {
            let token = credentials.cookie_named(application.cookie.as_deref()?)?;
            self.may_use_cookies(application, credentials).then_some((application, token))
        })?;
        let verified = self.verify(token);
        // A cookie counts for the application whose pages may send it, and for no other.
        Some(verified.and_then(|identity| {
            let same = identity.application == application.name;
            if same { Ok(identity) } else { Err(AuthError::Signature) }
        }))
    }

    /// Cookies travel by themselves, so only the application's own pages may use them. `ALLOWED_ORIGINS`, and the pages
    /// of this machine in development, belong to applications that name none of their own.
    /// A page of the platform's own origin sends no Origin with a GET; then the browser's word on the site counts.
    fn may_use_cookies(&self, application: &Application, credentials: &Credentials) -> bool {
        let Some(origin) = &credentials.origin else { return !credentials.cross_site };
        let is_of_this_machine = || self.0.localhost && crate::http::is_localhost(origin);
        let is_of_nobodys = || self.0.more_origins.contains(origin) || is_of_this_machine();
        application.origins.contains(origin) || application.origins.is_empty() && is_of_nobodys()
    }

    /// A subject of its own each time, where the application of this origin allows it.
    fn anonymous(&self, credentials: &Credentials) -> Result<Identity, AuthError> {
        let origin = credentials.origin.as_ref().ok_or(AuthError::Missing)?;
        let state = self.state();
        let mut applications = state.applications();
        let found = applications.find_map(|application| {
            let role = application.anonymous.filter(|_| application.origins.contains(origin))?;
            Some((application, role, application.tenant.without_token()?))
        });
        let (application, role, tenant) = found.ok_or(AuthError::Missing)?;
        debug_assert!(!matches!(role, Role::Admin | Role::Service), "refused by the file's reader");
        Ok(Identity {
            tenant,
            user: Identity::name_of_nobody(&ids::unguessable()).into(),
            role,
            email: None,
            channels: Vec::new(),
            publish: Vec::new(),
            expires_at: None,
            token_id: None,
            application: application.name.clone(),
            key: claims::NO_KEY,
        })
    }
}

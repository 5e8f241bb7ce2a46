//! `throughline token`: development tokens, signed with the data folder's key or `JWT_SECRET`.

use domain::Role;
use domain::token::Tenant;
use runtime::auth::NewToken;
use runtime::config::{
    APPLICATIONS_FILE, Environment, JWT_AUDIENCE, JWT_ISSUER, JWT_JWKS_URL, JWT_PUBLIC_KEY_FILE,
    JWT_SECRET, Reader, Secret,
};
use serde_json::json;

use crate::data::{self, DataFolder, Endpoints, Secrets};
use crate::failure::Failure;
use crate::sources::Sources;
use crate::table::{aligned, line, write_out};

/// The roles that `up` and a bare `throughline token` make a token for, strongest last.
pub(crate) const SHOWN: [Role; 4] = [Role::User, Role::Agent, Role::Admin, Role::Service];

/// A hundred years, in seconds.
const LONGEST: i64 = 36_500 * 86_400;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Role of the token; without it, one token per role
    #[arg(value_parser = role)]
    role: Option<Role>,
    /// Id of the user
    #[arg(long)]
    user: Option<String>,
    /// Tenant; without it, the one of the data folder
    #[arg(long)]
    tenant: Option<String>,
    /// Channels it may join besides its role's; * stands for anything
    #[arg(long, value_delimiter = ',')]
    channels: Vec<String>,
    /// Types of events it may publish besides its role's; * stands for anything
    #[arg(long, value_delimiter = ',')]
    publish: Vec<String>,
    /// How long it is valid, for example 30m, 12h, 7d
    #[arg(long, default_value = "7d", value_parser = seconds)]
    expires: i64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: data::Location,
}

/// A role by its name, for clap.
pub(crate) fn role(name: &str) -> Result<Role, String> {
    let names: Vec<&str> = Role::ALL.iter().map(|role| role.name()).collect();
    Role::parse(name).ok_or_else(|| format!("one of {}", names.join(", ")))
}

fn seconds(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text:?} is not a time such as 30m, 12h, 7d");
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let seconds = number.parse::<i64>().ok().and_then(|number| number.checked_mul(unit));
    match seconds.ok_or_else(wrong)? {
        0 => Err(format!("{text:?} is no time: the token would have expired already")),
        seconds if seconds > LONGEST => Err(format!("{text:?} is longer than 36500d")),
        seconds => Ok(seconds),
    }
}

/// Whose token it is to be.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    role: Role,
    tenant: String,
    user: String,
    channels: Vec<String>,
    publish: Vec<String>,
    seconds: i64,
}

impl Wanted {
    /// As the development tokens are: a backend may publish and join anything.
    pub(crate) fn new(role: Role, tenant: String) -> Self {
        let user = match role {
            Role::Guest => "guest",
            Role::User => "7",
            Role::Agent => "5",
            Role::Admin => "1",
            Role::Service => "backend",
        };
        let anything = |is: bool| if is { vec!["*".to_owned()] } else { Vec::new() };
        Self {
            role,
            tenant,
            user: user.to_owned(),
            channels: anything(role == Role::Service),
            publish: anything(matches!(role, Role::Admin | Role::Service)),
            seconds: 7 * 86_400,
        }
    }
}

/// Whether the platform takes tokens that are signed with the one secret there is here.
pub(crate) fn are_taken() -> bool {
    let reader = Reader::new(&Environment);
    let others = [APPLICATIONS_FILE, JWT_PUBLIC_KEY_FILE, JWT_JWKS_URL];
    !others.iter().any(|variable| reader.is_given(variable))
}

pub(crate) fn mint(folder: &DataFolder, wanted: &Wanted) -> Result<String, Failure> {
    let mut reader = Reader::new(&Environment);
    let given = reader.secret(&JWT_SECRET);
    let (issuer, audience) = (reader.given(&JWT_ISSUER), reader.given(&JWT_AUDIENCE));
    let given = reader.finish(given)?;
    let secret = match given {
        Some(secret) => secret,
        None => Secret::new(Secrets::load_or_make(folder, None)?.jwt_secret),
    };
    let tenant = Tenant::parse(&wanted.tenant)
        .map_err(|error| Failure::Usage(format!("tenant {:?}: {error}", wanted.tenant)))?;
    let now = runtime::clock::unix_seconds();
    let mut token = NewToken::new(&tenant, &wanted.user, wanted.role, now, wanted.seconds);
    token.channels.clone_from(&wanted.channels);
    token.publish.clone_from(&wanted.publish);
    (token.iss, token.aud) = (issuer, audience);
    token.sign(&secret).map_err(|error| Failure::failed("the token", error))
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let folder = DataFolder::existing(&arguments.data.data)?;
    let tenant = arguments.tenant.clone().unwrap_or_else(|| Endpoints::of(&folder).tenant);
    let token = |role| {
        let mut wanted = Wanted::new(role, tenant.clone());
        wanted.seconds = arguments.expires;
        wanted.channels.extend(arguments.channels.iter().cloned());
        wanted.publish.extend(arguments.publish.iter().cloned());
        if let Some(user) = &arguments.user {
            wanted.user.clone_from(user);
        }
        mint(&folder, &wanted)
    };
    if let Some(role) = arguments.role {
        let token = token(role)?;
        let whole = json!({ "role": role.name(), "token": token }).to_string();
        return line(if arguments.json { &whole } else { &token });
    }
    let rows = SHOWN
        .into_iter()
        .map(|role| Ok([role.name().to_owned(), token(role)?]))
        .collect::<Result<Vec<_>, Failure>>()?;
    if arguments.json {
        let tokens: serde_json::Map<_, _> =
            rows.into_iter().map(|[role, token]| (role, json!(token))).collect();
        return line(&json!(tokens).to_string());
    }
    write_out(aligned(&rows).as_bytes())?;
    show_sources(&folder)
}

/// The secrets that the development sources sign with, for whoever plays the provider.
fn show_sources(folder: &DataFolder) -> Result<(), Failure> {
    if let Some(own) = Sources::own_file() {
        // An operator's secrets are not for the screen.
        return line(&format!("\nThe sources and their secrets are those of {}", own.display()));
    }
    let sources = Sources::read(&folder.secrets_path().join("sources.toml"))?;
    let rows: Vec<[String; 4]> = sources
        .iter()
        .map(|source| {
            let path = format!("/webhooks/{}/…", source.name);
            let signed = match &*source.public_url {
                "" => String::new(),
                url => format!("signs for {url}"),
            };
            [source.provider.clone(), path, source.secret().to_owned(), signed]
        })
        .collect();
    write_out(format!("\nSecrets of the sources\n{}", aligned(&rows)).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("7d"), Ok(604_800));
        assert!(seconds("7").is_err() && seconds("d").is_err() && seconds("1w").is_err());
    }

    #[test]
    fn a_token_that_has_expired_already_is_not_made() {
        for bad in ["0s", "0d", "00m"] {
            assert!(seconds(bad).unwrap_err().contains("expired already"), "{bad}");
        }
        assert!(seconds("36501d").is_err() && seconds("9223372036854775807s").is_err());
    }

    #[test]
    fn an_unknown_role_is_told_what_there_is() {
        assert_eq!(role("super"), Ok(Role::Admin));
        assert!(role("root").unwrap_err().contains("service"));
    }
}

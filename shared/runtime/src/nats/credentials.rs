//! What a service proves itself with: a password, an nkey seed or a `.creds` file.

use std::fmt;

/// Read from the text of the file that `NATS_CREDS` names.
#[derive(Clone)]
pub enum Credentials {
    Password { user: String, password: String },
    Seed(String),
    File { jwt: String, seed: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither user:password, nor an nkey seed, nor a .creds file")]
pub struct UnknownCredentials;

impl Credentials {
    pub fn parse(text: &str) -> Result<Self, UnknownCredentials> {
        let text = text.trim();
        if text.contains("-----BEGIN NATS USER JWT-----") {
            let jwt = section(text, "NATS USER JWT").ok_or(UnknownCredentials)?;
            let seed = section(text, "USER NKEY SEED").ok_or(UnknownCredentials)?;
            return Ok(Self::File { jwt, seed });
        }
        if nkeys::KeyPair::from_seed(text).is_ok() {
            return Ok(Self::Seed(text.to_owned()));
        }
        let (user, password) = text.split_once(':').ok_or(UnknownCredentials)?;
        if user.is_empty() || password.is_empty() || text.contains(char::is_whitespace) {
            return Err(UnknownCredentials);
        }
        Ok(Self::Password { user: user.to_owned(), password: password.to_owned() })
    }
}

// The secret must not reach a log by way of a configuration's Debug output.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => write!(f, "Password({user}, redacted)"),
            Self::Seed(_) => f.write_str("Seed(redacted)"),
            Self::File { .. } => f.write_str("File(redacted)"),
        }
    }
}

fn section(text: &str, title: &str) -> Option<String> {
    let rest = text.split_once(&format!("BEGIN {title}-----"))?.1;
    let body = rest.trim_start_matches('-').split_once("---")?.0;
    Some(body.trim().to_owned())
}

pub(super) fn sign(seed: &str, nonce: &[u8]) -> Result<Vec<u8>, async_nats::AuthError> {
    nkeys::KeyPair::from_seed(seed)
        .and_then(|pair| pair.sign(nonce))
        .map_err(async_nats::AuthError::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_forms_are_told_apart() {
        let seed = nkeys::KeyPair::new_from_raw(nkeys::KeyPairType::User, [7; 32])
            .and_then(|pair| pair.seed())
            .unwrap();
        let file = format!(
            "-----BEGIN NATS USER JWT-----\neyJ0\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        assert!(matches!(Credentials::parse("ingest:s3cret\n"),
            Ok(Credentials::Password { user, password }) if user == "ingest" && password == "s3cret"));
        assert!(matches!(Credentials::parse(&seed), Ok(Credentials::Seed(_))));
        assert!(matches!(Credentials::parse(&file),
            Ok(Credentials::File { jwt, seed: found }) if jwt == "eyJ0" && found == seed));
        assert!(Credentials::parse("what is this").is_err());
    }

    #[test]
    fn a_secret_is_not_printed() {
        let printed = format!("{:?}", Credentials::parse("ingest:s3cret").unwrap());
        assert!(!printed.contains("s3cret"));
    }
}

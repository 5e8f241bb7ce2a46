//! Users of teams in `users.conf`: an nkey each, the right to publish for their tenant and to read on one durable.

use domain::{StreamId, Tenant, Token};

const BEGIN: &str = "  # teams begin";
const END: &str = "  # teams end";

#[derive(Clone, Debug)]
pub struct Team {
    pub tenant: Tenant,
    pub name: Token,
    /// The public half of its nkey; the server never sees the other.
    pub public_key: String,
    /// Whether it may consume its tenant's events by the durables of [`Team::durables`].
    pub consumes: bool,
}

/// A new pair: the public key for the server, the seed for the team.
#[derive(Clone)]
pub struct KeyPair {
    pub public_key: String,
    pub seed: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TeamError {
    #[error("this file of users has no section for teams")]
    NoSection,
    #[error("a key could not be made")]
    Key,
}

pub fn key_pair() -> Result<KeyPair, TeamError> {
    let pair = nkeys::KeyPair::new_from_raw(nkeys::KeyPairType::User, crate::ids::random_bytes());
    let pair = pair.map_err(|_| TeamError::Key)?;
    let seed = pair.seed().map_err(|_| TeamError::Key)?;
    Ok(KeyPair { public_key: pair.public_key(), seed })
}

impl Team {
    /// The name of its durable on every event stream.
    pub fn durable(&self) -> String {
        format!("team-{}-{}", self.tenant, self.name)
    }

    /// Clients must be told to use this prefix; the common one would let every team read the others' answers.
    pub fn inbox_prefix(&self) -> String {
        format!("_INBOX_{}_{}", self.tenant, self.name)
    }

    /// Definitions for the provisioner: one durable per event stream, on this tenant's events alone.
    pub fn durables(&self) -> Vec<String> {
        let durable = self.durable();
        let define = |stream: StreamId| {
            serde_json::json!({
                "stream": stream.name(),
                "durable_name": durable,
                "deliver_policy": "all",
                "ack_policy": "explicit",
                "replay_policy": "instant",
                "ack_wait": "30s",
                "max_ack_pending": 1000,
                "filter_subject": domain::subject::stored_filter(&self.tenant),
            })
            .to_string()
        };
        StreamId::ALL.into_iter().map(define).collect()
    }

    /// One line of `users.conf`.
    pub fn render(&self) -> String {
        let tenant = &self.tenant;
        let mut publish = vec![format!("publish.{tenant}.>")];
        if self.consumes {
            let durable = self.durable();
            for stream in StreamId::ALL.map(StreamId::name) {
                publish.push(format!("$JS.API.CONSUMER.INFO.{stream}.{durable}"));
                publish.push(format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"));
                publish.push(format!("$JS.ACK.{stream}.{durable}.>"));
                publish.push(format!("$JS.ACK.*.*.{stream}.{durable}.>"));
            }
        }
        let deny = closed(tenant.as_str());
        let publish: Vec<String> = publish.iter().map(|subject| format!("\"{subject}\"")).collect();
        format!(
            "  {{ nkey: {}, permissions {{ publish {{ allow: [{}], deny: [{deny}] }}, \
             subscribe {{ allow: [\"{}.>\", \"publish.{tenant}.rejected\"] }} }} }} # {tenant}/{}",
            self.public_key,
            publish.join(", "),
            self.inbox_prefix(),
            self.name,
        )
    }
}

/// What is the gate's own word, and what it takes from gateways alone.
fn closed(tenant: &str) -> String {
    let closed = ["rejected", "broadcast.>", "subject.>", "auth.>"];
    closed.map(|rest| format!("\"publish.{tenant}.{rest}\"")).join(", ")
}

/// Adds a team to the text of `users.conf`, or gives the one of that tenant and name another key.
pub fn add(users: &str, team: &Team) -> Result<String, TeamError> {
    let (before, section, after) = split(users).ok_or(TeamError::NoSection)?;
    let mark = format!("# {}/{}", team.tenant, team.name);
    let mut lines: Vec<String> = section
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.ends_with(&mark))
        .map(str::to_owned)
        .collect();
    lines.push(team.render());
    Ok(format!("{before}\n{}\n{after}", lines.join("\n")))
}

/// The teams of the old file in the new one, with what is closed to them now.
pub(super) fn carry_over(old: &str, new: &str) -> String {
    match (split(old), split(new)) {
        (Some((_, teams, _)), Some((before, _, after))) => {
            let teams: String = teams.split_inclusive('\n').map(renewed).collect();
            format!("{before}{teams}{after}")
        }
        _ => new.to_owned(),
    }
}

/// A team's line may have been written when less was closed.
fn renewed(line: &str) -> String {
    let renew = || {
        let (_, named) = line.rsplit_once("# ")?;
        let (tenant, _) = named.split_once('/')?;
        let (before, rest) = line.split_once("deny: [")?;
        let (_, after) = rest.split_once(']')?;
        Some(format!("{before}deny: [{}]{after}", closed(tenant)))
    };
    renew().unwrap_or_else(|| line.to_owned())
}

/// Up to and with the first mark, between the marks, from the second mark on.
fn split(users: &str) -> Option<(&str, &str, &str)> {
    let begin = users.find(BEGIN)? + BEGIN.len();
    let end = begin + users.get(begin..)?.find(END)?;
    Some((&users[..begin], &users[begin..end], &users[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn team(name: &str, public_key: &str) -> Team {
        Team {
            tenant: Tenant::parse("acme").unwrap(),
            name: Token::parse(name).unwrap(),
            public_key: public_key.to_owned(),
            consumes: true,
        }
    }

    #[test]
    fn a_team_is_added_replaced_and_carried_over() {
        let one = add(super::super::USERS, &team("crm", "UOLD")).unwrap();
        let two = add(&one, &team("billing", "UBILL")).unwrap();
        let three = add(&two, &team("crm", "UNEW")).unwrap();
        let carried = carry_over(&three, super::super::USERS);
        assert_eq!(carried, three);
        assert!(carried.contains("nkey: UNEW") && carried.contains("nkey: UBILL"));
        assert!(!carried.contains("UOLD"));
        // From a time when less was closed.
        let older = three.replace(", \"publish.acme.auth.>\"", "");
        assert_ne!(older, three);
        assert_eq!(carry_over(&older, super::super::USERS), three);
    }
}

//! A client's way into the namespace: its credential, the session that it comes back to, what it is told first.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use domain::Channel;
use runtime::auth::{Admitted, AuthError};
use runtime::ids;
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};
use tokio::time::{Instant, timeout};

use super::platform::{Hold, Platform, closing};
use super::{Closing, Outbox};
use crate::devices::check_name;
use crate::line::{GapReason, Line, Step};
use crate::member::{Brought, Member, Opened, position_in};
use crate::queries;
use crate::wires::Wire;
use crate::wires::socketio::MAIN;

/// How long it may take to see whether a session can be recovered. Then the client tries again.
const LOOK_WITHIN: Duration = Duration::from_secs(10);

/// A session that its client cannot go on with.
struct Broken {
    channels: Vec<Channel>,
    reason: GapReason,
}

impl Platform {
    /// Lets a client in or says why not. A fault that will pass closes the transport, and the client comes again.
    pub(super) async fn let_in(
        &mut self,
        auth: &Value,
        outbox: &mut Outbox,
    ) -> Result<bool, Closing> {
        let field = |name| auth.get(name).and_then(Value::as_str).map(str::to_owned);
        let credentials =
            self.handshake.credentials.clone().with_token(field("token").unwrap_or_default());
        let admitted = match self.edge.auth.authenticate(&credentials).await {
            Ok(admitted) => admitted,
            Err(AuthError::Unavailable) => return Err(Closing::ForcedServerClose),
            Err(error) => {
                let code = json!({ "code": error.code() });
                outbox.refuse(MAIN, error.seed_message(), Some(&code));
                return Ok(false);
            }
        };
        let brought = Brought {
            client_id: field("pid"),
            cursor: position_in(auth, "offset"),
            device: field("device"),
            memberships: Vec::new(),
        };
        if let Err(refused) = check_name(brought.device.as_deref()) {
            outbox.refuse(MAIN, refused.message, Some(&json!({ "code": refused.code })));
            return Ok(false);
        }
        self.handshake.authenticated();
        self.open(admitted, brought, outbox).await?;
        Ok(true)
    }

    async fn open(
        &mut self,
        admitted: Admitted,
        brought: Brought,
        outbox: &mut Outbox,
    ) -> Result<(), Closing> {
        let mut opened = self.open_member(admitted.clone(), &brought).await?;
        let mut frames = Vec::new();
        let mut broken = if opened.is_reconnect {
            look(&mut opened, &mut frames).await?
        } else {
            forgotten(&mut opened, &brought)
        };
        if opened.is_reconnect
            && let Some(lost) = &broken
        {
            // The client is to see that it was not recovered, so it gets a session of its own. What is left of its
            // channels follows in that one.
            let is_expired = lost.reason == GapReason::Expired;
            let afresh = Brought {
                client_id: None,
                cursor: brought.cursor.filter(|_| is_expired),
                device: brought.device,
                memberships: opened.member.memberships(),
            };
            drop(opened);
            opened = self.open_member(admitted, &afresh).await?;
            frames = Vec::new();
            if std::mem::take(&mut opened.recovered) && is_expired {
                // Behind the same position, where it meets the same gap.
                broken = first_gap(&mut opened, &mut frames).await?.or(broken);
            }
        }
        let first = opened.member.line.cursor();
        let hold = Hold { until: Instant::now() + self.edge.limits.replay_delay, frames };
        self.greet(opened, broken, hold, &first, outbox);
        Ok(())
    }

    async fn open_member(&self, admitted: Admitted, brought: &Brought) -> Result<Opened, Closing> {
        let minted: Arc<str> = ids::unguessable().into();
        let opened = Member::open(&self.edge, Wire::SocketIo, admitted, minted, brought).await;
        opened.map_err(|lost| closing(&lost))
    }

    fn greet(
        &mut self,
        opened: Opened,
        broken: Option<Broken>,
        hold: Hold,
        cursor: &str,
        outbox: &mut Outbox,
    ) {
        let Opened { member, recovered, gap, forbidden, .. } = opened;
        let pid = member.client_id.clone();
        let channels = member.channels();
        let rooms: Vec<_> = channels.iter().map(Channel::as_str).collect();
        let ready = json!({
            "userId": &*member.identity.user,
            "tenant": member.identity.tenant.as_str(),
            "device": member.device.name,
            "rooms": rooms,
            "recovered": recovered,
        });
        outbox.connected(MAIN, &sid(&pid), Some(&pid));
        outbox.push(crate::wires::socketio::event(
            MAIN,
            "throughline:ready",
            &[ready],
            Some(cursor),
        ));
        let mut member = Box::new(member);
        if !recovered {
            queries::open_alerts(&self.edge, &mut member, queries::THROUGHLINE_SNAPSHOT);
        }
        self.begin(member, hold);
        if let Some(Broken { channels, reason }) = broken {
            self.tell_gap_at(&channels, reason, cursor, outbox);
        }
        if let Some(reason) = gap {
            self.tell_gap_at(&channels, reason, cursor, outbox);
        }
        if !forbidden.is_empty() {
            self.tell_gap_at(&forbidden, GapReason::Forbidden, cursor, outbox);
        }
    }
}

/// Looks whether everything that the client missed is still there. What was read for it waits in `frames`.
async fn look(opened: &mut Opened, frames: &mut Vec<Bytes>) -> Result<Option<Broken>, Closing> {
    if !opened.recovered {
        let reason = opened.gap.unwrap_or(GapReason::UnknownPosition);
        return Ok(Some(Broken { channels: lasting(&opened.member), reason }));
    }
    first_gap(opened, frames).await
}

/// The session whose id the client brought is not there any more, and with it what it was in.
fn forgotten(opened: &mut Opened, brought: &Brought) -> Option<Broken> {
    brought.client_id.as_ref()?;
    opened.recovered = false;
    let is_told = opened.gap.is_some();
    (!is_told).then(|| Broken { channels: Vec::new(), reason: GapReason::Expired })
}

async fn first_gap(
    opened: &mut Opened,
    frames: &mut Vec<Bytes>,
) -> Result<Option<Broken>, Closing> {
    let looking = first_page(&mut opened.member.line, frames);
    let Ok(found) = timeout(LOOK_WITHIN, looking).await else {
        return Err(Closing::ForcedServerClose);
    };
    Ok(found.map(|(channels, reason)| Broken {
        channels: if channels.is_empty() { lasting(&opened.member) } else { channels },
        reason,
    }))
}

/// Reads until something older than the tail has been read or nothing is due; a gap where it is not there any more.
async fn first_page(line: &mut Line, frames: &mut Vec<Bytes>) -> Option<(Vec<Channel>, GapReason)> {
    let mut has_waited = false;
    loop {
        let mut collected = Vec::new();
        match line.collect(&mut collected) {
            Step::Gap { channels, reason } => return Some((channels, reason)),
            Step::Write { .. } => {
                frames.append(&mut collected);
                // What overtakes comes from the tail and says nothing about what is older.
                if has_waited || line.session().is_live() {
                    return None;
                }
            }
            Step::Idle if line.session().is_live() => return None,
            Step::Idle => {}
        }
        line.ready().await;
        has_waited = true;
    }
}

/// The channels of a session that outlive it.
fn lasting(member: &Member) -> Vec<Channel> {
    member.channels().into_iter().filter(|channel| channel.kind() != "connection").collect()
}

/// A connection's public name, the same whenever its session is gone on with. The pid is a secret of its client.
fn sid(pid: &str) -> String {
    let mut digest = Sha1::new();
    digest.update("socket.io sid ");
    digest.update(pid);
    URL_SAFE_NO_PAD.encode(&digest.finalize()[..15])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sid_follows_from_the_pid_and_looks_like_a_stock_one() {
        assert_eq!(sid("pid-of-a-session-001"), sid("pid-of-a-session-001"));
        assert_ne!(sid("pid-of-a-session-001"), sid("pid-of-a-session-002"));
        assert_eq!(sid("pid-of-a-session-001").len(), 20);
    }
}

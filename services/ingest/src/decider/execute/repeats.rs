//! Whether a command was decided before: by its key, and where people's own words are in it by those.

use bytes::Bytes;
use domain::Command;
use domain::aggregate::RecordedEvent;
use domain::aggregates::conversation;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Decider, Held, Tail, Undecided};

/// What there is under a command's key.
pub(super) enum Before {
    Nothing,
    Decided(RecordedEvent),
    /// A client that begins to count anew has used it for something else that somebody said. These words are refused,
    /// once, under a key of their own.
    OtherWords(String),
}

impl Decider {
    pub(super) async fn before(
        &self,
        tail: &Tail,
        held: &mut Held,
        command: &Command,
    ) -> Result<Before, Undecided> {
        let key = command.key();
        let Some(record) = self.record_under(tail, held, &key).await? else {
            return Ok(Before::Nothing);
        };
        let Some(words) = self.other_words(command, &record).await? else {
            return Ok(Before::Decided(record));
        };
        let key = format!("{key}#{words}");
        let refused = self.record_under(tail, held, &key).await?;
        Ok(refused.map_or(Before::OtherWords(key), Before::Decided))
    }

    async fn record_under(
        &self,
        tail: &Tail,
        held: &mut Held,
        key: &str,
    ) -> Result<Option<RecordedEvent>, Undecided> {
        let Some(sequence) = held.entity().decided(key) else { return Ok(None) };
        let entities = &self.inner.entities;
        let found = entities.record(tail, held, sequence).await.map_err(Undecided::Read)?;
        if found.is_none() {
            // It has expired, and what is known of the entity is as old.
            entities.fold_anew(tail, held).await.map_err(Undecided::Read)?;
        }
        Ok(found)
    }

    /// What tells a command's words from others, where its record is not of the same: what somebody says must not be
    /// taken for what they said before.
    async fn other_words(
        &self,
        command: &Command,
        record: &RecordedEvent,
    ) -> Result<Option<String>, Undecided> {
        let (Some(now), Some(before)) = (command.field("message"), conversation::said(record))
        else {
            return Ok(None);
        };
        // Sealed anew for each attempt, so only opened they tell.
        let (vault, both) = (self.inner.intake.vault(), json!([now, before]).to_string());
        vault.prepare(&command.tenant, both.as_bytes()).await.map_err(Undecided::Seal)?;
        let opened = vault.open(&command.tenant, &Bytes::from(both));
        let opened: [Value; 2] = serde_json::from_slice(&opened).unwrap_or_default();
        if opened[0] == opened[1] {
            return Ok(None);
        }
        Ok(Some(vault.fingerprint(&command.tenant, now).unwrap_or_else(|| digest(now))))
    }
}

/// Of words that stand in the record as they are.
fn digest(words: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(words).into();
    digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

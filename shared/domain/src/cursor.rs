//! A position as clients hold it: an opaque, authenticated string that any node can read.
//!
//! Layout before base64url: version (1), mark (1), part (1), tenant tag (6), number of streams (1), per stream
//! epoch (4, little endian), sequence (LEB128), fingerprint (2, little endian); then 10 bytes of HMAC-SHA256.
//! A stream that a cursor does not name is newer than the cursor and is read from its beginning.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::position::{Position, StreamPosition};
use crate::stream::{self, StreamId};
use crate::token::Tenant;

const VERSION: u8 = 1;
const TAG: usize = 6;
const MAC: usize = 10;
/// The longest cursor that is looked at; what we write is at most 120 characters.
const MAX_TEXT: usize = 160;

/// Which of a session's joins with `after` a cursor was given in; see [`Mark::joins`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Mark {
    /// How many such joins the session had begun, modulo 128.
    pub joins: u8,
    /// Whether the last of them was still being filled: the position is then the joining channel's,
    /// the other channels wait at the position that the session record holds.
    pub filling: bool,
}

/// An event that is several frames for its holder (a call's change on `calls` and on `call:{sid}`) has been given in part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    pub stream: StreamId,
    /// The event right behind the position: its variants below this one have been given; 1 to 15.
    pub given: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cursor {
    pub position: Position,
    pub mark: Mark,
    pub part: Option<Part>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CursorError {
    /// Not one of ours, or changed, or written with a key that is gone.
    #[error("the cursor is not one of this platform's")]
    Unknown,
    #[error("the cursor belongs to another tenant")]
    OtherTenant,
}

/// Writes with the newest key and reads with it or the one before.
#[derive(Clone)]
pub struct CursorKeys {
    newest: Hmac<Sha256>,
    previous: Option<Hmac<Sha256>>,
}

impl CursorKeys {
    /// From the platform's key and the one it replaced.
    pub fn new(platform_key: &[u8], previous: Option<&[u8]>) -> Self {
        Self { newest: derive(platform_key), previous: previous.map(derive) }
    }

    pub fn encode(&self, tenant: &Tenant, cursor: &Cursor) -> String {
        let mut bytes = Vec::with_capacity(96);
        let mark = cursor.mark.joins << 1 | u8::from(cursor.mark.filling);
        bytes.extend([VERSION, mark, part_byte(cursor.part)]);
        bytes.extend(tag(tenant));
        bytes.push(stream::COUNT as u8);
        for stream in StreamId::ALL {
            let at = cursor.position.get(stream);
            bytes.extend(at.epoch.to_le_bytes());
            push_varint(&mut bytes, at.sequence);
            bytes.extend(at.fingerprint.to_le_bytes());
        }
        let mac = mac(&self.newest, &bytes);
        bytes.extend(mac);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub fn decode(&self, tenant: &Tenant, text: &str) -> Result<Cursor, CursorError> {
        if text.len() > MAX_TEXT {
            return Err(CursorError::Unknown);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError::Unknown)?;
        let (body, found) = bytes.split_last_chunk::<MAC>().ok_or(CursorError::Unknown)?;
        let authentic = |key| bool::from(mac(key, body).ct_eq(found));
        if !authentic(&self.newest) && !self.previous.as_ref().is_some_and(authentic) {
            return Err(CursorError::Unknown);
        }
        let (cursor, owner) = parse(body).ok_or(CursorError::Unknown)?;
        if owner == tag(tenant) { Ok(cursor) } else { Err(CursorError::OtherTenant) }
    }
}

/// Whether a text may be a cursor, of this log or of another one. No word and no time is as long without a gap.
pub fn is_shaped_like_one(text: &str) -> bool {
    let shortest = 3 + TAG + 1 + MAC;
    text.len() <= MAX_TEXT
        && URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() >= shortest)
}

/// The cursor's own key, so that the platform's key is never used for two purposes.
fn derive(platform_key: &[u8]) -> Hmac<Sha256> {
    let mut key = Sha256::new();
    key.update(b"throughline cursor v1");
    key.update((platform_key.len() as u64).to_le_bytes());
    key.update(platform_key);
    let mut block = [0u8; 64];
    block[..32].copy_from_slice(&key.finalize());
    Hmac::new(&block.into())
}

fn mac(key: &Hmac<Sha256>, body: &[u8]) -> [u8; MAC] {
    let mut mac = key.clone();
    mac.update(body);
    let full = mac.finalize().into_bytes();
    std::array::from_fn(|i| full[i])
}

fn tag(tenant: &Tenant) -> [u8; TAG] {
    let digest = Sha256::digest(tenant.as_str());
    std::array::from_fn(|i| digest[i])
}

fn parse(body: &[u8]) -> Option<(Cursor, [u8; TAG])> {
    let (&[version, mark, part], rest) = body.split_first_chunk::<3>()?;
    if version != VERSION {
        return None;
    }
    let (owner, rest) = rest.split_first_chunk::<TAG>()?;
    let (&count, mut rest) = rest.split_first()?;
    let mut position = Position::default();
    for index in 0..usize::from(count) {
        let (epoch, after) = rest.split_first_chunk::<4>()?;
        let (sequence, after) = split_varint(after)?;
        let (fingerprint, after) = after.split_first_chunk::<2>()?;
        rest = after;
        // A stream of a newer release is unknown here; the rest of the position still holds.
        if let Some(stream) = StreamId::from_index(index) {
            let epoch = u32::from_le_bytes(*epoch);
            let fingerprint = u16::from_le_bytes(*fingerprint);
            position.set(stream, StreamPosition { epoch, sequence, fingerprint });
        }
    }
    let mark = Mark { joins: mark >> 1, filling: mark & 1 == 1 };
    rest.is_empty().then_some((Cursor { position, mark, part: read_part(part) }, *owner))
}

fn part_byte(part: Option<Part>) -> u8 {
    part.map_or(0, |part| (part.stream.index() as u8) << 4 | part.given.min(15))
}

fn read_part(byte: u8) -> Option<Part> {
    let stream = StreamId::from_index(usize::from(byte >> 4))?;
    (byte & 15 > 0).then_some(Part { stream, given: byte & 15 })
}

fn push_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn split_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (i, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f).checked_shl(7 * i as u32)?;
        if byte & 0x80 == 0 {
            return Some((value, &bytes[i + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tenant(name: &str) -> Tenant {
        Tenant::parse(name).unwrap()
    }

    fn keys(key: &[u8]) -> CursorKeys {
        CursorKeys::new(key, None)
    }

    fn cursors() -> impl Strategy<Value = Cursor> {
        let at = (any::<u32>(), 0..1u64 << 48, any::<u16>()).prop_map(
            |(epoch, sequence, fingerprint)| StreamPosition { epoch, sequence, fingerprint },
        );
        let part = proptest::option::of((0..5usize, 1..16u8)).prop_map(|part| {
            part.map(|(stream, given)| Part { stream: StreamId::ALL[stream], given })
        });
        (proptest::array::uniform5(at), 0..128u8, any::<bool>(), part).prop_map(
            |(p, joins, filling, part)| Cursor {
                position: Position::new(p),
                mark: Mark { joins, filling },
                part,
            },
        )
    }

    proptest! {
        #[test]
        fn a_cursor_reads_back_as_it_was_written(cursor in cursors()) {
            let text = keys(b"k").encode(&tenant("acme"), &cursor);
            prop_assert!(text.len() <= 120);
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
            prop_assert_eq!(keys(b"k").decode(&tenant("acme"), &text), Ok(cursor));
        }

        #[test]
        fn a_changed_cursor_is_refused(cursor in cursors(), at in any::<prop::sample::Index>(), bit in 0..8u32) {
            let text = keys(b"k").encode(&tenant("acme"), &cursor);
            let mut bytes = URL_SAFE_NO_PAD.decode(text).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let changed = URL_SAFE_NO_PAD.encode(bytes);
            prop_assert_eq!(keys(b"k").decode(&tenant("acme"), &changed), Err(CursorError::Unknown));
        }

        #[test]
        fn any_text_is_answered(text in ".{0,200}") {
            prop_assert!(keys(b"k").decode(&tenant("acme"), &text).is_err());
        }
    }

    #[test]
    fn the_previous_key_still_reads_and_another_does_not() {
        let text = keys(b"old").encode(&tenant("acme"), &Cursor::default());
        let rotated = CursorKeys::new(b"new", Some(b"old"));
        assert!(rotated.decode(&tenant("acme"), &text).is_ok());
        assert_eq!(keys(b"new").decode(&tenant("acme"), &text), Err(CursorError::Unknown));
    }

    #[test]
    fn another_tenants_cursor_is_named_as_such() {
        let text = keys(b"k").encode(&tenant("acme"), &Cursor::default());
        assert_eq!(keys(b"k").decode(&tenant("globex"), &text), Err(CursorError::OtherTenant));
    }
}

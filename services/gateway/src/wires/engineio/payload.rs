//! What a long poll carries: the packets that wait, taken out of the frames that a WebSocket would have carried.
//! Events are encoded once, as frames; a poll strips the header.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::SEPARATOR;

/// Takes frames from the front until the payload has `limit` bytes; a single longer one goes alone.
pub(crate) fn poll_payload(frames: &mut Vec<Bytes>, limit: usize) -> Bytes {
    let mut payload = String::new();
    let mut taken = 0;
    for frame in &*frames {
        // Base64 is a third longer.
        if !payload.is_empty() && payload.len() + frame.len() * 4 / 3 > limit {
            break;
        }
        for (is_binary, packet) in Frames(frame) {
            if !payload.is_empty() {
                payload.push(SEPARATOR);
            }
            if is_binary {
                payload.push('b');
                STANDARD.encode_string(packet, &mut payload);
            } else {
                payload.push_str(&String::from_utf8_lossy(packet));
            }
        }
        taken += 1;
    }
    frames.drain(..taken);
    payload.into()
}

/// The frames in a server's bytes, each with whether it is binary.
struct Frames<'a>(&'a [u8]);

impl<'a> Iterator for Frames<'a> {
    type Item = (bool, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let &[first, short] = self.0.first_chunk::<2>()?;
        let rest = &self.0[2..];
        let (length, rest) = match short {
            126 => {
                let (long, rest) = rest.split_first_chunk::<2>()?;
                (usize::from(u16::from_be_bytes(*long)), rest)
            }
            127 => {
                let (long, rest) = rest.split_first_chunk::<8>()?;
                (usize::try_from(u64::from_be_bytes(*long)).ok()?, rest)
            }
            short => (usize::from(short), rest),
        };
        let (payload, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((first & 0x0f == 2, payload))
    }
}

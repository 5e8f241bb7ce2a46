//! The only place that makes ids and randomness.
//! It must not know what an id names; pure code is handed the result.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

/// An id that sorts by the moment it was made: events, commands, messages.
#[expect(clippy::disallowed_methods, reason = "this is the one module that makes ids")]
pub fn ordered() -> String {
    Uuid::now_v7().to_string()
}

/// An id that nobody can guess (120 random bits, 20 URL-safe characters): sids, pids, request ids.
pub fn unguessable() -> String {
    URL_SAFE_NO_PAD.encode(random_bytes::<15>())
}

/// Bytes from the operating system's seeded generator, fit for keys and nonces.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes);
    bytes
}

/// A number in `0..below`, for jitter; 0 when `below` is 0.
pub fn jitter(below: u64) -> u64 {
    if below == 0 { 0 } else { rand::random_range(0..below) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordered_ids_sort_by_the_moment_they_were_made() {
        let ids: Vec<_> = (0..1_000).map(|_| ordered()).collect();
        assert!(ids.is_sorted());
    }

    #[test]
    fn unguessable_ids_are_url_safe_and_differ() {
        let (a, b) = (unguessable(), unguessable());
        assert_ne!(a, b);
        assert_eq!(a.len(), 20);
        assert!(a.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_'));
    }

    #[test]
    fn jitter_stays_below_its_bound() {
        assert_eq!(jitter(0), 0);
        assert!((0..100).all(|_| jitter(3) < 3));
    }
}

//! Memory for bodies of senders who have not proven themselves: a signature is over the whole body, so that it must be
//! held before anybody knows whose it is. It knows no provider.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header};
use runtime::http::Problem;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What all of them may take together.
const BYTES: usize = 256 * 1024 * 1024;
/// What one permit stands for; a body takes one at least.
const PIECE: usize = 1024;

#[derive(Clone)]
pub(crate) struct Unproven(Arc<Semaphore>);

impl Default for Unproven {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BYTES / PIECE)))
    }
}

impl Unproven {
    /// Room for a body of this size, kept until what is returned is dropped. One that does not say how long it is
    /// may be as long as any.
    pub(super) fn room(&self, headers: &HeaderMap, longest: usize) -> Option<OwnedSemaphorePermit> {
        let said =
            headers.get(header::CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
        let pieces = said.unwrap_or(longest).min(longest).min(BYTES).div_ceil(PIECE).max(1);
        self.0.clone().try_acquire_many_owned(pieces as u32).ok()
    }
}

/// For who finds no room.
pub(super) fn no_room() -> Problem {
    let detail = "Too many bodies are being read at one time; send this again.";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail).retry_after(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_that_are_held_are_bounded_together_and_make_room_when_they_go() {
        let unproven = Unproven::default();
        let mut headers = HeaderMap::new();
        let longest = BYTES / 4;
        let held: Vec<_> = (0..4).map(|_| unproven.room(&headers, longest).unwrap()).collect();
        headers.insert(header::CONTENT_LENGTH, "1".parse().unwrap());
        assert!(unproven.room(&headers, longest).is_none());
        drop(held);
        assert!(unproven.room(&headers, longest).is_some());
    }
}

//! A service that cannot be spoken to from here at all: everything asked of it fails.

use super::{Answer, Failure, Heard, Pieces, Promise, Provider, Question, Reason, Sound, Speech};

/// By the name of the service that it stands for.
pub(crate) struct Unreachable(pub(crate) &'static str);

fn fails<'a, T: 'a>() -> Promise<'a, T> {
    Box::pin(async { Err(Failure::from(Reason::Unreachable)) })
}

impl Provider for Unreachable {
    fn name(&self) -> &'static str {
        self.0
    }

    fn answer<'a>(&'a self, _: &'a Question, _: &'a Pieces) -> Promise<'a, Answer> {
        fails()
    }

    fn hear<'a>(&'a self, _: &'a Speech) -> Promise<'a, Heard> {
        fails()
    }

    fn speak<'a>(&'a self, _: &'a str) -> Promise<'a, Option<Sound>> {
        fails()
    }
}

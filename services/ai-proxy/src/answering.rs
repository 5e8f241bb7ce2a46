//! Answers messages: each once, in order within its conversation, by whichever instance holds the claim.
//!
//! `dispatch` is woken up by a durable, `board` knows from the log what is unanswered, `worker` and `round` attempt it
//! under a `claim`, `attempt` streams and stores. The log alone decides who may store an answer.

mod attempt;
mod board;
mod claim;
mod crisis;
mod delta;
pub(crate) mod dispatch;
pub(crate) mod fact;
mod fold;
pub(crate) mod keys;
mod overdue;
mod plan;
mod question;
pub(crate) mod record;
mod round;
mod signals;
#[cfg(test)]
mod tests;
mod worker;

pub(crate) use board::Board;
pub(crate) use overdue::Late;
pub(crate) use record::Recorder;
pub(crate) use worker::Worker;

//! Names of the JetStream protocol that the client library does not have.

pub(crate) const EXPECTED_SUBJECT_SEQUENCE: &str = "Nats-Expected-Last-Subject-Sequence";
pub(crate) const EXPECTED_SUBJECT_SEQUENCE_SUBJECT: &str =
    "Nats-Expected-Last-Subject-Sequence-Subject";
pub(crate) const MESSAGE_ID: &str = "Nats-Msg-Id";

/// Error codes that mean "another append came first".
pub(crate) const WRONG_LAST_SEQUENCE: [u32; 2] = [10071, 10164];
/// A copy with the same message id is still being stored.
pub(crate) const DUPLICATE_IN_PROCESS: u32 = 10158;
/// "maximum bytes|messages|messages per subject exceeded" and other failures of the store.
pub(crate) const STORE_FAILED: u32 = 10077;
pub(crate) const NO_MESSAGE_FOUND: u32 = 10037;

/// The metadata key that holds a stream's epoch.
pub(crate) const EPOCH: &str = "tl-epoch";

pub(crate) const STATUS_NOT_FOUND: u16 = 404;
pub(crate) const STATUS_NO_RESPONDERS: u16 = 503;

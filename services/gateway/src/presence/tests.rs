//! Gateways in memory, with every message of theirs in the test's hand.

//! The replay service's binary.
fn main() {}

//! The service against a real nats-server and AI services that misbehave on purpose.

#[cfg(test)]
mod alarms;
#[cfg(test)]
mod answers;
#[cfg(test)]
mod erasure;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod presence;
#[cfg(test)]
mod providers;
#[cfg(test)]
mod sick_service;
#[cfg(test)]
mod speech;

//! The house's rules that no compiler checks.

#[cfg(test)]
mod codes;
#[cfg(test)]
mod compatibility;
#[cfg(test)]
mod crates;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod routes;
#[cfg(test)]
mod sources;
#[cfg(test)]
mod tree;

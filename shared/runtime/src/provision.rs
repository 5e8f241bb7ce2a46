//! Makes the streams, buckets, object stores and durables that the files under `nats/` declare.
//!
//! Run by one identity. What exists and differs is told field by field and left alone unless an update is asked for:
//! a declaration must not silently reshape a log that holds data.

use std::fmt;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tracing::info;

use crate::nats::Nats;
use crate::nats::names::EPOCH;

mod api;
mod definitions;
mod difference;
mod durability;
mod units;

use api::{Api, ApiError};
pub use definitions::{Definition, Definitions, InvalidDefinition, Kind};
pub use difference::Difference;
pub use durability::{Demand, Durability, NotDurable, Promise, ServerDurability};

#[derive(Clone, Copy, Debug)]
pub struct ApplyOptions {
    /// Of every stream: 1 for one server, 3 for a cluster.
    pub replicas: usize,
    /// Change what differs, as far as the server allows it.
    pub update: bool,
}

impl Default for ApplyOptions {
    fn default() -> Self {
        Self { replicas: 1, update: false }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    Missing,
    Created,
    Unchanged,
    Updated,
    Differs(Vec<Difference>),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    pub name: String,
    pub state: State,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    pub items: Vec<Item>,
}

#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    #[error("what exists differs from what is declared; nothing of it was changed\n{0}")]
    Drift(Report),
    #[error("{name} could not be provisioned")]
    Server {
        name: String,
        #[source]
        reason: ApiError,
    },
}

/// Makes what is missing. Idempotent.
pub async fn apply(
    nats: &Nats,
    definitions: &Definitions,
    options: ApplyOptions,
) -> Result<Report, ProvisionError> {
    let report = walk(nats, definitions, options, true).await?;
    if report.items.iter().any(|item| matches!(item.state, State::Differs(_))) {
        return Err(ProvisionError::Drift(report));
    }
    Ok(report)
}

/// Says what `apply` would do, and does nothing.
pub async fn check(
    nats: &Nats,
    definitions: &Definitions,
    replicas: usize,
) -> Result<Report, ProvisionError> {
    walk(nats, definitions, ApplyOptions { replicas, update: false }, false).await
}

async fn walk(
    nats: &Nats,
    definitions: &Definitions,
    options: ApplyOptions,
    may_write: bool,
) -> Result<Report, ProvisionError> {
    let api = Api::new(nats.log_reader());
    let mut items = Vec::new();
    // Durables need their streams; within one kind the order does not matter.
    for kind in [Kind::Stream, Kind::Consumer] {
        let of_kind = definitions.iter().filter(|definition| definition.kind == kind);
        let walks = of_kind.map(|definition| one(&api, definition, options, may_write));
        for item in join_all(walks).await {
            items.push(item?);
        }
    }
    Ok(Report { items })
}

async fn one(
    api: &Api,
    definition: &Definition,
    options: ApplyOptions,
    may_write: bool,
) -> Result<Item, ProvisionError> {
    let name = definition.name.clone();
    let state = state(api, definition, options, may_write)
        .await
        .map_err(|reason| ProvisionError::Server { name: name.clone(), reason })?;
    Ok(Item { name, state })
}

async fn state(
    api: &Api,
    definition: &Definition,
    options: ApplyOptions,
    may_write: bool,
) -> Result<State, ApiError> {
    let declared = with_replicas(definition, options.replicas);
    let Some(found) = api.find(definition).await? else {
        if !may_write {
            return Ok(State::Missing);
        }
        api.create(definition, &with_epoch(definition, declared)).await?;
        info!(name = %definition.name, "created");
        return Ok(State::Created);
    };
    let differences = difference::between(&declared, &found);
    if differences.is_empty() {
        return Ok(State::Unchanged);
    }
    if !(may_write && options.update) {
        return Ok(State::Differs(differences));
    }
    // What is not declared stays as it is, the epoch among it.
    api.update(definition, &difference::merge(found, &declared)).await?;
    info!(name = %definition.name, fields = differences.len(), "updated");
    Ok(State::Updated)
}

fn with_replicas(definition: &Definition, replicas: usize) -> Value {
    let mut config = definition.config.clone();
    if definition.kind == Kind::Stream {
        config["num_replicas"] = json!(replicas);
    }
    config
}

/// The epoch tells a stream from another one of the same name, such as a restored copy.
fn with_epoch(definition: &Definition, mut config: Value) -> Value {
    if definition.kind == Kind::Stream {
        // 0 stands for "none".
        let epoch = u32::from_be_bytes(crate::ids::random_bytes()).max(1);
        config["metadata"] = json!({ EPOCH: epoch.to_string() });
    }
    config
}

impl Report {
    /// Whether everything is as declared.
    pub fn is_clean(&self) -> bool {
        self.items.iter().all(|item| !matches!(item.state, State::Missing | State::Differs(_)))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Item { name, state } in &self.items {
            match state {
                State::Missing => writeln!(f, "{name}: missing")?,
                State::Created => writeln!(f, "{name}: created")?,
                State::Unchanged => writeln!(f, "{name}: as declared")?,
                State::Updated => writeln!(f, "{name}: updated")?,
                State::Differs(differences) => {
                    writeln!(f, "{name}: differs")?;
                    for difference in differences {
                        writeln!(f, "  {difference}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

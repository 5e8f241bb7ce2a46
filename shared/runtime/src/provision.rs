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
    pub update: Update,
}

/// What becomes of what exists and differs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Update {
    /// It is told and left alone.
    Nothing,
    /// It is changed but for how much is kept for how long, which may be an operator's choice.
    KeepLimits,
    /// It is changed as far as the server allows it.
    Everything,
}

/// The fields that say how much is kept for how long.
const LIMITS: [&str; 2] = ["max_age", "max_bytes"];

impl Default for ApplyOptions {
    fn default() -> Self {
        Self { replicas: 1, update: Update::Nothing }
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
    walk(nats, definitions, ApplyOptions { replicas, update: Update::Nothing }, false).await
}

async fn walk(
    nats: &Nats,
    definitions: &Definitions,
    options: ApplyOptions,
    may_write: bool,
) -> Result<Report, ProvisionError> {
    let api = Api::new(nats.log_reader());
    let of_kind = |kind| definitions.iter().filter(move |definition| definition.kind == kind);
    let streams: Vec<_> = of_kind(Kind::Stream).collect();
    // What exists goes first: it may have to give up subjects to what is new.
    let there = streams.iter().map(|stream| one(&api, stream, options, may_write, false));
    let mut items = join_all(there).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    if may_write && !items.iter().any(|item| matches!(item.state, State::Differs(_))) {
        let missing = streams.iter().zip(&mut items).filter(|(_, it)| it.state == State::Missing);
        let made = missing.map(async |(stream, item)| {
            *item = one(&api, stream, options, may_write, true).await?;
            Ok(())
        });
        join_all(made).await.into_iter().collect::<Result<(), _>>()?;
    }
    // Durables need their streams.
    let is_complete = items.iter().all(|item| item.state != State::Missing);
    let durables =
        of_kind(Kind::Consumer).map(|durable| one(&api, durable, options, may_write, is_complete));
    for item in join_all(durables).await {
        items.push(item?);
    }
    Ok(Report { items })
}

async fn one(
    api: &Api,
    definition: &Definition,
    options: ApplyOptions,
    may_write: bool,
    may_create: bool,
) -> Result<Item, ProvisionError> {
    let name = definition.name.clone();
    let state = state(api, definition, options, may_write, may_create)
        .await
        .map_err(|reason| ProvisionError::Server { name: name.clone(), reason })?;
    Ok(Item { name, state })
}

async fn state(
    api: &Api,
    definition: &Definition,
    options: ApplyOptions,
    may_write: bool,
    may_create: bool,
) -> Result<State, ApiError> {
    let mut declared = with_replicas(definition, options.replicas);
    let Some(found) = api.find(definition).await? else {
        if !may_write || !may_create {
            return Ok(State::Missing);
        }
        api.create(definition, &with_epoch(definition, declared)).await?;
        info!(name = %definition.name, "created");
        return Ok(State::Created);
    };
    if let (Update::KeepLimits, Some(fields)) = (options.update, declared.as_object_mut()) {
        fields.retain(|field, _| !LIMITS.contains(&field.as_str()));
    }
    let differences = difference::between(&declared, &found);
    if differences.is_empty() {
        return Ok(State::Unchanged);
    }
    if !may_write || options.update == Update::Nothing {
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

mod access;
mod admission;
mod commands;
mod entries;
mod operator_files;
mod protecting;

use serde_json::Value;
use time::OffsetDateTime;

use super::{Admitted, Catalogue, Defaults, Publication, Refusal};
use crate::token::Tenant;

fn catalogue() -> Catalogue {
    Catalogue::builtin().unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn tenant() -> Tenant {
    Tenant::parse("acme").unwrap()
}

fn defaults() -> Defaults {
    let now = OffsetDateTime::from_unix_timestamp_nanos(1_767_323_045_678_900_000).unwrap();
    Defaults { id: "e-1".to_owned(), now }
}

fn admit(event_type: &str, data: Value) -> Result<Admitted, Refusal> {
    let publication = Publication::new(event_type, "test", data);
    catalogue().admit(&tenant(), publication, defaults())
}

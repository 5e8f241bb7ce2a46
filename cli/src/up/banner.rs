//! What a person sees when the platform runs: where it is, tokens, and the first commands to try.

use domain::Role;

use crate::data::{DataFolder, Endpoints, shown};
use crate::failure::Failure;
use crate::table::{aligned, write_out};
use crate::token;

pub(crate) fn print(
    folder: &DataFolder,
    endpoints: &Endpoints,
    ops: &[(&'static str, String)],
) -> Result<(), Failure> {
    let minted = |role: Role| {
        let wanted = token::Wanted::new(role, endpoints.tenant.clone());
        Ok([role.name().to_owned(), token::mint(folder, &wanted)?])
    };
    let tokens = if token::are_taken() {
        token::SHOWN.into_iter().map(minted).collect::<Result<Vec<_>, Failure>>()?
    } else {
        Vec::new()
    };
    write_out(text(folder, endpoints, ops, &tokens).as_bytes())
}

fn tokens_text(tenant: &str, tokens: &[[String; 2]]) -> String {
    if tokens.is_empty() {
        return "Tokens: those of the applications that APPLICATIONS_FILE or JWT_* name; none is made here.\n".to_owned();
    }
    format!(
        "Tokens of tenant {tenant}, valid 7 days (more: throughline token --help)\n{}",
        aligned(tokens)
    )
}

fn text(
    folder: &DataFolder,
    endpoints: &Endpoints,
    ops: &[(&'static str, String)],
    tokens: &[[String; 2]],
) -> String {
    let Endpoints { nats, tenant, .. } = endpoints;
    let (gateway, ingest) = (&shown(&endpoints.gateway), &shown(&endpoints.ingest));
    let health: Vec<String> =
        ops.iter().map(|(name, url)| format!("{name} {url}/readyz")).collect();
    let places = [
        ["Gateway", gateway, "clients: /ws, /sse, /v1/history"],
        ["Ingest", ingest, "webhooks, POST /v1/events"],
        ["NATS", nats, "publish.<tenant>.>"],
    ]
    .map(|row| row.map(str::to_owned));
    let admin = tokens.iter().find(|[role, _]| role == "admin").map_or("…", |[_, token]| token);
    format!(
        "\nThroughline is running. Ctrl-C stops it.\n\n{}Data     {}\nHealth   {}\n\n\
         {}\n\
         Try this in a second terminal: follow the dashboard …\n\n  \
         TOKEN={admin}\n  \
         curl -N -H \"Authorization: Bearer $TOKEN\" '{gateway}/sse?channels=dashboard:overview'\n\n\
         … and in a third, publish something to it:\n\n  \
         curl {ingest}/v1/events -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' \\\n    \
         -d '{{\"type\":\"metric.update\",\"data\":{{\"type\":\"voice_call\",\"calls\":150}}}}'\n\n\
         Or let this program do it: {program} tail calls · {program} simulate\n\n",
        aligned(&places),
        folder.path().display(),
        health.join("\n         "),
        tokens_text(tenant, tokens),
        program = program(),
    )
}

/// How this program was started.
fn program() -> &'static str {
    let by_cargo = std::env::var_os("CARGO_MANIFEST_DIR").is_some();
    if by_cargo { "cargo run --quiet --" } else { "throughline" }
}

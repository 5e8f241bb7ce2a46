//! The platform's interfaces as documents: AsyncAPI, made from the catalogue, and OpenAPI.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::edge::Edge;

/// Kept true by a test that compares its paths with the routes.
const OPENAPI: &str = include_str!("../openapi.json");
const JSON: [(axum::http::HeaderName, &str); 1] = [(CONTENT_TYPE, "application/json")];

/// Made anew each time: it is asked for rarely, and the catalogue may change.
pub(crate) async fn asyncapi(State(edge): State<Edge>) -> Response {
    let document = domain::asyncapi::document(&edge.catalogue, env!("CARGO_PKG_VERSION"));
    (JSON, document.to_string()).into_response()
}

pub(crate) async fn openapi() -> Response {
    (JSON, OPENAPI).into_response()
}

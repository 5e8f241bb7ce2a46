//! The part of the JetStream API that the provisioner needs, as JSON.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::definitions::{Definition, Kind};
use crate::log_reader::{LogReader, ReadError};

const WITHIN: Duration = Duration::from_secs(10);
const NO_STREAM: u64 = 10059;
const NO_CONSUMER: u64 = 10014;

#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("the server did not answer")]
    Silent(#[from] ReadError),
    #[error("the server refused: {description} ({code})")]
    Refused { code: u64, description: String },
}

pub(super) struct Api {
    reader: LogReader,
}

impl Api {
    pub(super) fn new(reader: LogReader) -> Self {
        Self { reader }
    }

    /// The configuration of what exists.
    pub(super) async fn find(&self, definition: &Definition) -> Result<Option<Value>, ApiError> {
        let subject = match definition.kind {
            Kind::Stream => format!("STREAM.INFO.{}", definition.stream),
            Kind::Consumer => format!("CONSUMER.INFO.{}", definition.name),
        };
        match self.call(&subject, &json!({})).await {
            Ok(mut answer) => Ok(Some(answer["config"].take())),
            Err(ApiError::Refused { code: NO_STREAM | NO_CONSUMER, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn create(
        &self,
        definition: &Definition,
        config: &Value,
    ) -> Result<(), ApiError> {
        self.write(definition, config, "STREAM.CREATE", "create").await
    }

    pub(super) async fn update(
        &self,
        definition: &Definition,
        config: &Value,
    ) -> Result<(), ApiError> {
        self.write(definition, config, "STREAM.UPDATE", "update").await
    }

    async fn write(
        &self,
        definition: &Definition,
        config: &Value,
        verb: &str,
        action: &str,
    ) -> Result<(), ApiError> {
        let (subject, request) = match definition.kind {
            Kind::Stream => (format!("{verb}.{}", definition.stream), config.clone()),
            Kind::Consumer => (
                format!("CONSUMER.CREATE.{}{}", definition.name, single_filter(config)),
                json!({ "stream_name": definition.stream, "config": config, "action": action }),
            ),
        };
        self.call(&subject, &request).await.map(drop)
    }

    async fn call(&self, subject: &str, request: &Value) -> Result<Value, ApiError> {
        let deadline = Instant::now() + WITHIN;
        let subject = format!("$JS.API.{subject}");
        let message = self.reader.ask(&subject, request.to_string().into(), deadline).await?;
        let answer: Value =
            serde_json::from_slice(&message.payload).map_err(|_| ReadError::Malformed)?;
        match answer.get("error") {
            None => Ok(answer),
            Some(error) => Err(ApiError::Refused {
                code: error["err_code"].as_u64().unwrap_or_default(),
                description: error["description"].as_str().unwrap_or_default().to_owned(),
            }),
        }
    }
}

/// A single filter is part of the subject, so that permissions can tell filters apart.
fn single_filter(config: &Value) -> String {
    config["filter_subject"].as_str().map(|filter| format!(".{filter}")).unwrap_or_default()
}

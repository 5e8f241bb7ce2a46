//! Objects too large for one message, in chunks: audio of webhooks, snapshots of the read side.

use std::time::Duration;

use async_nats::jetstream::object_store::{
    DeleteErrorKind, GetErrorKind, ObjectMetadata, ObjectStore,
};
use futures_util::TryStreamExt as _;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use crate::nats::Nats;

const OPEN_WITHIN: Duration = Duration::from_secs(5);

/// A handle that is cheap to clone.
#[derive(Clone)]
pub struct Objects {
    store: ObjectStore,
    deadline: Duration,
}

/// An object without its content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    pub name: String,
    /// What was said about it when it was put.
    pub description: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    #[error("no such object")]
    NotFound,
    #[error("the object is larger than allowed")]
    TooLarge,
    #[error("the object store did not answer in time")]
    Timeout,
    #[error("the object store failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Nats {
    /// `deadline` is for one whole object.
    pub async fn objects(&self, bucket: &str, deadline: Duration) -> Result<Objects, ObjectError> {
        // Large objects go over the connection for gets, so that they do not delay acknowledgements of appends.
        let context = async_nats::jetstream::new(self.tailing().client().clone());
        let store = within(OPEN_WITHIN, context.get_object_store(bucket)).await?;
        Ok(Objects { store, deadline })
    }
}

impl Objects {
    /// Stores a new object or replaces the one of that name; returns its size.
    pub async fn put(
        &self,
        name: &str,
        data: &mut (impl AsyncRead + Unpin),
    ) -> Result<usize, ObjectError> {
        within(self.deadline, self.store.put(name, data)).await.map(|info| info.size)
    }

    /// The same with a few words that [`Objects::list`] tells.
    pub async fn put_described(
        &self,
        name: &str,
        description: String,
        data: &mut (impl AsyncRead + Unpin),
    ) -> Result<usize, ObjectError> {
        let metadata = ObjectMetadata {
            name: name.to_owned(),
            description: Some(description),
            ..ObjectMetadata::default()
        };
        within(self.deadline, self.store.put(metadata, data)).await.map(|info| info.size)
    }

    /// What there is.
    pub async fn list(&self) -> Result<Vec<Listed>, ObjectError> {
        let read = async {
            let list = self.store.list().await.map_err(|error| failed(error.into()))?;
            let listed = list.map_ok(|info| Listed {
                name: info.name,
                description: info.description.unwrap_or_default(),
            });
            listed.try_collect().await.map_err(|error| failed(error.into()))
        };
        timeout(self.deadline, read).await.map_err(|_| ObjectError::Timeout)?
    }

    /// The whole object, its digest verified.
    pub async fn get(&self, name: &str, at_most: usize) -> Result<Vec<u8>, ObjectError> {
        let read = async {
            let mut object = self.store.get(name).await.map_err(|error| match error.kind() {
                GetErrorKind::NotFound => ObjectError::NotFound,
                _ => ObjectError::Failed(error.into()),
            })?;
            if object.info().size > at_most {
                return Err(ObjectError::TooLarge);
            }
            let mut bytes = Vec::with_capacity(object.info().size);
            let read = object.read_to_end(&mut bytes).await;
            read.map_err(|error| ObjectError::Failed(error.into()))?;
            Ok(bytes)
        };
        timeout(self.deadline, read).await.map_err(|_| ObjectError::Timeout)?
    }

    pub async fn delete(&self, name: &str) -> Result<(), ObjectError> {
        let deleted = timeout(self.deadline, self.store.delete(name)).await;
        deleted.map_err(|_| ObjectError::Timeout)?.map_err(|error| match error.kind() {
            DeleteErrorKind::NotFound => ObjectError::NotFound,
            _ => ObjectError::Failed(error.into()),
        })
    }
}

fn failed(error: Box<dyn std::error::Error + Send + Sync>) -> ObjectError {
    ObjectError::Failed(error)
}

async fn within<T, E>(
    deadline: Duration,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, ObjectError>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match timeout(deadline, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(ObjectError::Failed(error.into())),
        Err(_) => Err(ObjectError::Timeout),
    }
}

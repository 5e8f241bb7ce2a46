//! Whole events on their way into a stream: what is personal is sealed for the person that the event is about, also
//! what a command brought sealed for somebody else.

use domain::protection::{Protection, Subject, open_value_of, sealed_for};
use domain::{Envelope, Tenant};
use serde_json::{Map, Value};

use super::{Vault, VaultError};

impl Vault {
    /// Seals what is personal in an event that is about to be stored. What names nobody stays as it is.
    pub async fn seal_event(
        &self,
        envelope: &mut Envelope,
        protection: &Protection,
    ) -> Result<(), VaultError> {
        let Ok(Value::Object(mut data)) = serde_json::from_slice(&envelope.data) else {
            return Ok(());
        };
        let Some(subject) = protection.subject(&envelope.tenant, &data) else { return Ok(()) };
        self.open_for(&envelope.tenant, &mut data, protection, |owner| *owner != subject).await?;
        self.seal(&mut data, protection, &subject).await?;
        envelope.data = Value::Object(data).to_string().into();
        Ok(())
    }

    /// Opens the protected fields that are sealed for those whom `is_meant` picks, where their key still exists.
    pub async fn open_for(
        &self,
        tenant: &Tenant,
        data: &mut Map<String, Value>,
        protection: &Protection,
        is_meant: impl Fn(&Subject) -> bool,
    ) -> Result<(), VaultError> {
        for field in &protection.fields {
            let Some(owner) = sealed_for(tenant, data, field).filter(&is_meant) else { continue };
            if !self.opens(data, field, &owner) && self.ask(&owner).await?.is_some() {
                self.opens(data, field, &owner);
            }
        }
        Ok(())
    }

    fn opens(&self, data: &mut Map<String, Value>, field: &str, owner: &Subject) -> bool {
        self.known(owner).is_some_and(|key| open_value_of(data, field, owner, &key))
    }
}

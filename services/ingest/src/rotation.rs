//! After a change of the platform's key: people's keys are wrapped with the new one, so that the old may be forgotten.

use std::time::Duration;

use runtime::tasks::BoxError;
use runtime::telemetry::chain;
use runtime::vault::{Rewrapped, Vault};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

const RETRY: Duration = Duration::from_secs(1);

/// Until everything is wrapped with the newest platform key, or `shutdown`.
pub(crate) async fn run(vault: Vault, shutdown: CancellationToken) -> Result<(), BoxError> {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = rewrap(&vault) => {}
    }
    Ok(())
}

async fn rewrap(vault: &Vault) {
    loop {
        match vault.rewrap().await {
            Ok(Rewrapped { anew, unreadable: 0 }) => {
                return info!(
                    anew,
                    "all keys are wrapped with PLATFORM_KEY; the previous one is needed for none of them"
                );
            }
            Ok(Rewrapped { anew, unreadable }) => {
                return error!(
                    anew,
                    unreadable,
                    "keys are wrapped with neither PLATFORM_KEY nor PLATFORM_KEY_PREVIOUS"
                );
            }
            Err(error) => {
                warn!(error = chain(&error), "keys wait to be wrapped anew");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

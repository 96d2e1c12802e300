//! A publisher without the right to release asks for it: `requests/<model>/version=<n>.json`.

use headgate_contract::{ModelName, Version};

use crate::store::{Store, StoreError};

/// Leaves a request to release a version, which the controller grants by its policy. A second request for the same
/// version changes nothing.
pub async fn request_release(
    store: &Store,
    model: &ModelName,
    version: Version,
    condition: Option<String>,
    who: &str,
) -> Result<(), StoreError> {
    let _ = (store, model, version, condition, who);
    todo!()
}

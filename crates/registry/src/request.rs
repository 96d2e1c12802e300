//! A publisher without the right to release asks for it: `requests/<model>/version=<n>.json`.

use headgate_contract::claim::ReleaseRequest;
use headgate_contract::{ModelName, Version, format, layout};
use jiff::Timestamp;

use crate::documents::create_or_find;
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
    let request = ReleaseRequest {
        format: format::REQUEST.to_owned(),
        model: model.clone(),
        version,
        who: who.to_owned(),
        at: Timestamp::now(),
        condition,
    };
    create_or_find(store, &layout::request(model, version), format::write(&request).into()).await.map(drop)
}

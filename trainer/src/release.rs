//! Releasing what was published.

use headgate_contract::{ModelName, Version};
use headgate_registry::Store;
use headgate_registry::gate::{Condition, ConditionError};
use headgate_registry::release::{Promotion, promote_all};

use crate::report::Release;

/// Whether a condition can be read: asked before long work, not after it.
pub(crate) fn check_condition(condition: &str) -> Result<(), ConditionError> {
    condition.parse::<Condition>().map(drop)
}

/// Releases versions in one swap. The error is in words.
pub(crate) async fn release(
    store: &Store,
    versions: Vec<(ModelName, Version)>,
    condition: Option<&str>,
    why: &str,
    who: &str,
) -> Result<Release, String> {
    let models = versions.len();
    if models == 0 {
        return Err("no version to release".to_owned());
    }
    let promotion = |(model, version)| Promotion {
        model,
        version,
        weight: None,
        condition: condition.map(str::to_owned),
        force: false,
        why: why.to_owned(),
    };
    let promoted = promote_all(store, versions.into_iter().map(promotion).collect(), who).await;
    let promoted = promoted.map_err(|error| error.to_string())?;
    Ok(Release { store_id: promoted.store_id, generation: promoted.generation, changed: promoted.changed, models })
}

//! An earlier catalog becomes today's, and the log of all of them.

use std::collections::BTreeSet;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use headgate_contract::ModelName;
use headgate_contract::catalog::Head;

use super::ReleaseError;
use super::edit;
use super::swap::{Edit, Note, Plan};
use super::today::Today;
use crate::catalog::{CatalogError, read_head, read_old_head, read_shard};
use crate::store::Store;

/// How many heads or shards are read at once.
const AT_ONCE: usize = 16;

/// A restore of one generation.
pub(super) struct Restore {
    pub(super) store: Store,
    pub(super) generation: u64,
    pub(super) why: String,
}

#[async_trait]
impl Edit for Restore {
    fn models(&self) -> Option<BTreeSet<ModelName>> {
        None
    }

    /// It keeps the frozen flag.
    fn thaws(&self) -> bool {
        true
    }

    async fn apply(&mut self, today: &Today, note: &Note) -> Result<Plan, ReleaseError> {
        let generation = self.generation;
        let invalid = |why: String| ReleaseError::Invalid(format!("generation {generation}: {why}"));
        let now =
            today.head.as_ref().map(|head| &head.head).ok_or_else(|| invalid("there is no catalog".to_owned()))?;
        if now.generation <= generation {
            return Err(invalid(format!("today's is {}: an earlier one expected", now.generation)));
        }
        let old = read_old_head(&self.store, generation).await?;
        let old = old.filter(|old| old.store_id == now.store_id);
        let old = old.ok_or_else(|| invalid("its head is not kept".to_owned()))?;
        let reads = old.shards.iter().map(|(id, digest)| async {
            let (shard, _) = read_shard(&self.store, id, *digest).await?;
            Ok::<_, CatalogError>((id.clone(), shard))
        });
        let shards = stream::iter(reads).buffer_unordered(AT_ONCE).boxed().try_collect().await?;
        let shards = edit::restore(&today.shards, shards, note, &self.why).map_err(invalid)?;
        Ok(Plan::Catalog { what: format!("restore generation {generation}"), shards })
    }
}

/// The newest `limit` heads, newest first, as far back as they are kept.
pub(super) async fn log(store: &Store, limit: usize) -> Result<Vec<Head>, ReleaseError> {
    let Some(now) = read_head(store).await? else { return Ok(Vec::new()) };
    let newest = now.head.generation;
    let earlier = (1..newest).rev().take(limit.saturating_sub(1));
    let reads = earlier.map(|generation| read_old_head(store, generation));
    let heads: Vec<Option<Head>> = stream::iter(reads).buffered(AT_ONCE).boxed().try_collect().await?;
    let kept = heads.into_iter().map_while(|head| head);
    Ok(std::iter::once(now.head).chain(kept).take(limit).collect())
}

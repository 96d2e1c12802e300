//! The swap of the head: read generation g, check, keep a copy of it, write the changed shards, compare-and-swap to g+1.
//!
//! A swap that failed, or whose reply was lost, is settled by reading generation g+1, the head or its copy: if it bears
//! our change id it was won. One change keeps its id through all its tries, so that an early try which lands late is
//! still known for ours.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use headgate_contract::catalog::{Frozen, Head, Shard, ShardId};
use headgate_contract::{Digest, ModelName, Release, format, layout};
use jiff::Timestamp;
use tokio::time::Instant;

use super::today::{Today, changes, still_ours};
use super::{Promoted, ReleaseError};
use crate::catalog::{CatalogError, ReadHead, read_head, read_old_head, read_shard};
use crate::documents::{create_or_find, heavy, pause, random_id};
use crate::store::{Intent, Store, StoreError};

/// How long a change is tried: garbage collection counts on no change being older.
const AGE_MAX: Duration = Duration::from_secs(5 * 60);
/// How many shards are read or written at once.
const AT_ONCE: usize = 16;
/// How often generation g+1 is read before its outcome is called unknown.
const READS_MAX: u32 = 6;

/// A change of the catalog.
#[async_trait]
pub(super) trait Edit: Send {
    /// The models that it looks at; none for all of them, where any other change is in its way.
    fn models(&self) -> Option<BTreeSet<ModelName>>;

    /// Whether it may be made while the catalog is frozen.
    fn thaws(&self) -> bool {
        false
    }

    /// Checks everything, and says what is to be. Called again, with what is then, when another change came first.
    async fn apply(&mut self, today: &Today, note: &Note) -> Result<Plan, ReleaseError>;
}

/// Who makes a change, and when.
#[derive(Clone, Debug)]
pub(super) struct Note {
    pub(super) change_id: String,
    pub(super) at: Timestamp,
    pub(super) who: String,
}

/// What is to be.
#[derive(Debug)]
pub(super) enum Plan {
    /// It is so already.
    Nothing,
    /// These releases; the others stay.
    Releases {
        /// In words, for the log.
        what: String,
        releases: BTreeMap<ModelName, Release>,
    },
    /// These shards in place of all that there are.
    Catalog {
        /// In words, for the log.
        what: String,
        shards: BTreeMap<ShardId, Shard>,
    },
    /// Another frozen flag.
    Frozen {
        /// In words, for the log.
        what: String,
        frozen: Option<Frozen>,
    },
}

/// How a swap went whose reply does not say.
enum Settled {
    Won,
    Lost,
    /// The head is still the one that was to be replaced.
    NotYet,
}

/// Makes a change: won whole, or not at all.
pub(super) async fn swap(store: &Store, who: &str, edit: &mut dyn Edit) -> Result<Promoted, ReleaseError> {
    store.probe(Intent::Release).await?;
    let note = Note { change_id: random_id(), at: Timestamp::now(), who: who.to_owned() };
    let mut swap = Swap { store, note, began: Instant::now(), pending: None, read: HashMap::new() };
    let result = swap.run(edit).await;
    if swap.pending.is_none() {
        return result;
    }
    // A try of ours may still be on its way.
    let at = store.at(layout::HEAD);
    let source = match result {
        Err(ReleaseError::Store(source)) => source,
        Err(ReleaseError::Broken(why)) => StoreError::Damaged { at, why },
        Err(ReleaseError::Abandoned { seconds }) => StoreError::Timeout { at, timeout_ms: seconds * 1000 },
        result => return result,
    };
    Err(ReleaseError::Unknown { source })
}

struct Swap<'a> {
    store: &'a Store,
    note: Note,
    began: Instant,
    /// What a try of ours makes that was sent and may still be on its way.
    pending: Option<Promoted>,
    /// Shards that were read; their content never changes.
    read: HashMap<Digest, Shard>,
}

impl Swap<'_> {
    async fn run(&mut self, edit: &mut dyn Edit) -> Result<Promoted, ReleaseError> {
        let models = edit.models();
        let mut first: Option<Today> = None;
        for attempt in 1.. {
            let today = self.today(models.as_ref()).await?;
            if let Some(won) = self.arrived(&today).await? {
                return Ok(won);
            }
            match &first {
                Some(first) => still_ours(first, &today, models.as_ref())?,
                None => refuse_a_second_birth(self.store, &today).await?,
            }
            if let (Some(frozen), false) = (today.frozen(), edit.thaws()) {
                let Frozen { who, since, why } = frozen.clone();
                return Err(ReleaseError::Frozen { who, since, why });
            }
            let plan = edit.apply(&today, &self.note).await?;
            if let Some(done) = self.make(&today, plan).await? {
                return Ok(done);
            }
            first.get_or_insert(today);
            pause(attempt).await;
        }
        Err(self.too_old())
    }

    /// Carries a plan out; none where another change came first.
    async fn make(&mut self, today: &Today, plan: Plan) -> Result<Option<Promoted>, ReleaseError> {
        let changes = changes(today, &plan);
        let base = today.head.as_ref();
        if let Plan::Nothing = plan {
            let head = base.map(|base| (base.head.store_id.clone(), base.head.generation));
            let (store_id, generation) = head.unwrap_or_default();
            return Ok(Some(Promoted { store_id, generation, changed: false, changes }));
        }
        if let Some(base) = base {
            keep_copy(self.store, base).await?;
        }
        let head = self.next_head(today, plan).await?;
        if self.began.elapsed() > AGE_MAX {
            return Err(self.too_old());
        }
        let bytes = Bytes::from(format::write(&head));
        let written = match base {
            Some(base) => self.store.replace(layout::HEAD, bytes, &base.etag).await,
            None => self.store.create(layout::HEAD, bytes).await,
        };
        let settled = match written {
            Ok(_) => Settled::Won,
            Err(error) if error.uncertain() => self.settle(&head, error).await?,
            Err(error) => return Err(error.into()),
        };
        let made = Promoted { store_id: head.store_id, generation: head.generation, changed: true, changes };
        match settled {
            Settled::Won => return Ok(Some(made)),
            Settled::Lost => self.pending = None,
            Settled::NotYet => self.pending = Some(made),
        }
        Ok(None)
    }

    /// What an early try has made after all; none where it can't arrive any more, or has not yet.
    async fn arrived(&mut self, today: &Today) -> Result<Option<Promoted>, ReleaseError> {
        let now = today.head.as_ref().map_or(0, |head| head.head.generation);
        let Some(generation) = self.pending.as_ref().map(|made| made.generation) else { return Ok(None) };
        let found = match &today.head {
            Some(head) if now == generation => Some(head.head.change_id.clone()),
            Some(_) if now > generation => read_old_head(self.store, generation).await?.map(|head| head.change_id),
            _ => return Ok(None),
        };
        let made = self.pending.take();
        match found {
            Some(change_id) => Ok(made.filter(|_| change_id == self.note.change_id)),
            None => Err(ReleaseError::Broken(format!("{} is missing", layout::old_head(generation)))),
        }
    }

    /// Whether generation g+1 is ours.
    async fn settle(&self, ours: &Head, error: StoreError) -> Result<Settled, ReleaseError> {
        let mut last = error;
        for attempt in 1..=READS_MAX {
            match read_generation(self.store, ours).await {
                Ok(Some(found)) if found.change_id == self.note.change_id => return Ok(Settled::Won),
                Ok(Some(_)) => return Ok(Settled::Lost),
                Ok(None) => return Ok(Settled::NotYet),
                Err(CatalogError::Garbled(why)) => {
                    last = StoreError::Damaged { at: self.store.at(layout::HEAD), why };
                }
                Err(CatalogError::Store(error)) => last = error,
            }
            pause(attempt).await;
        }
        Err(ReleaseError::Unknown { source: last })
    }

    async fn today(&mut self, models: Option<&BTreeSet<ModelName>>) -> Result<Today, ReleaseError> {
        let Some(head) = read_head(self.store).await? else { return Ok(Today::default()) };
        let wanted: Option<BTreeSet<ShardId>> = models.map(|models| models.iter().map(ShardId::of).collect());
        let wanted = |id: &ShardId| wanted.as_ref().is_none_or(|wanted| wanted.contains(id));
        let named: BTreeMap<ShardId, Digest> =
            head.head.shards.iter().filter(|(id, _)| wanted(id)).map(|(id, digest)| (id.clone(), *digest)).collect();
        let missing: Vec<_> = named.iter().filter(|(_, digest)| !self.read.contains_key(digest)).collect();
        let store = self.store;
        let reads = missing.into_iter().map(|(id, digest)| async move {
            let (shard, _) = read_shard(store, id, *digest).await?;
            Ok::<_, CatalogError>((*digest, shard))
        });
        let read: Vec<_> = stream::iter(reads).buffer_unordered(AT_ONCE).boxed().try_collect().await?;
        self.read.retain(|digest, _| named.values().any(|named| named == digest));
        self.read.extend(read);
        let shard = |(id, digest)| Some((id, self.read.get(&digest)?.clone()));
        Ok(Today { shards: named.into_iter().filter_map(shard).collect(), head: Some(head) })
    }

    /// Writes the changed shards, and makes the head that names them.
    async fn next_head(&self, today: &Today, plan: Plan) -> Result<Head, ReleaseError> {
        let mut head = match &today.head {
            Some(base) => Head { generation: base.head.generation + 1, ..base.head.clone() },
            None => first_head(),
        };
        head.change_id = self.note.change_id.clone();
        (head.at, head.who) = (self.note.at, self.note.who.clone());
        let shards = match plan {
            Plan::Nothing => BTreeMap::new(),
            Plan::Releases { what, releases } => {
                head.what = what;
                today.with(releases)
            }
            Plan::Catalog { what, shards } => {
                head.what = what;
                head.shards.clear();
                shards
            }
            Plan::Frozen { what, frozen } => {
                (head.what, head.frozen) = (what, frozen);
                BTreeMap::new()
            }
        };
        let store = self.store;
        let writes = shards.into_iter().map(|(id, shard)| async move {
            let size = shard.releases.len() << 10;
            let (bytes, digest) = heavy(size, move || {
                let bytes = Bytes::from(format::write(&shard));
                let digest = Digest::of(&bytes);
                (bytes, digest)
            })
            .await;
            match store.create(&layout::shard(&digest), bytes).await {
                // Its name is its content: whoever wrote it wrote this.
                Ok(_) | Err(StoreError::Exists { .. }) => Ok::<_, StoreError>((id, digest)),
                Err(error) => Err(error),
            }
        });
        let written: Vec<_> = stream::iter(writes).buffer_unordered(AT_ONCE).boxed().try_collect().await?;
        head.shards.extend(written);
        Ok(head)
    }

    fn too_old(&self) -> ReleaseError {
        ReleaseError::Abandoned { seconds: self.began.elapsed().as_secs() }
    }
}

/// A store whose head is gone but whose earlier heads are there has lost its catalog: a new one would hide that.
async fn refuse_a_second_birth(store: &Store, today: &Today) -> Result<(), ReleaseError> {
    if today.head.is_some() {
        return Ok(());
    }
    match store.list("catalog/heads/").await?.keys.last() {
        // Somebody else's first change may have come since.
        Some(last) if read_head(store).await?.is_none() => {
            let why = format!("{} is missing, but {last} is there: copy it back", store.at(layout::HEAD));
            Err(ReleaseError::Broken(why))
        }
        _ => Ok(()),
    }
}

/// Keeps the head that is about to be replaced.
async fn keep_copy(store: &Store, base: &ReadHead) -> Result<(), ReleaseError> {
    let key = layout::old_head(base.head.generation);
    match create_or_find(store, &key, base.bytes.clone()).await? {
        None => Ok(()),
        Some(_) => Err(ReleaseError::Broken(format!("{} is a copy of another head than today's", store.at(&key)))),
    }
}

/// The head of the generation of `ours`; none where the head is still older.
async fn read_generation(store: &Store, ours: &Head) -> Result<Option<Head>, CatalogError> {
    let Some(now) = read_head(store).await? else { return Ok(None) };
    match now.head.generation.cmp(&ours.generation) {
        Ordering::Less => Ok(None),
        Ordering::Equal => Ok(Some(now.head)),
        Ordering::Greater => {
            let missing = || CatalogError::Garbled(format!("{} is missing", layout::old_head(ours.generation)));
            read_old_head(store, ours.generation).await?.ok_or_else(missing).map(Some)
        }
    }
}

fn first_head() -> Head {
    Head {
        format: format::HEAD.to_owned(),
        store_id: random_id(),
        generation: 1,
        change_id: String::new(),
        at: Timestamp::UNIX_EPOCH,
        who: String::new(),
        what: String::new(),
        frozen: None,
        shards: BTreeMap::new(),
        extra: BTreeMap::new(),
    }
}

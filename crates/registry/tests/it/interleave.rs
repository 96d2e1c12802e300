//! Any interleaving of publishers and promoters, each killed at any store call or its reply lost after it took effect,
//! leaves a catalog that names only whole versions, one winner per generation, and no won promotion reported as lost.
//!
//! Each actor's store calls pass a scheduler that lets one through at a time, in the order and with the faults that the
//! property test chose. The clock is paused: an actor that waits before it tries again is simply let wake.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use headgate_contract::catalog::Head;
use headgate_contract::{Digest, Manifest, ModelName, Version, format, layout};
use headgate_registry::release::{self, ReleaseError};
use headgate_registry::{PublishError, Published};
use proptest::prelude::*;
use tokio::task::{JoinHandle, LocalSet};

use crate::memory::{Gate, Memory, Objects, Verdict, store_of};
use crate::sample;

/// What an actor is to do.
#[derive(Clone, Debug)]
enum Role {
    Publish { build: u8 },
    Promote { model: u8, version: u64, canary: bool },
}

/// What an actor said at its end; nothing where it was killed.
#[derive(Debug)]
enum Said {
    Published(Result<Published, PublishError>),
    Promoted(Result<release::Promoted, ReleaseError>),
}

struct Actor {
    name: String,
    role: Role,
    gate: Gate,
    task: JoinHandle<Said>,
}

fn the_model(index: u8) -> ModelName {
    sample::model(["m", "n"][usize::from(index % 2)])
}

fn start(objects: &Objects, index: usize, role: Role, dir: &Path) -> Actor {
    let gate = Arc::new(Mutex::new(None));
    let store = store_of(Memory { objects: Arc::clone(objects), gate: Some(Arc::clone(&gate)) });
    let name = format!("actor-{index}");
    let (who, dir, what) = (name.clone(), dir.to_owned(), role.clone());
    let task = tokio::task::spawn_local(async move {
        match what {
            Role::Publish { build } => {
                let new = sample::version(&the_model(0), &format!("build {build}"), &dir);
                Said::Published(sample::publish(&store, new).await)
            }
            Role::Promote { model, version, canary } => {
                let weight = canary.then_some(10);
                let promotion = sample::promotion(&the_model(model), Version::new(version).unwrap());
                Said::Promoted(release::promote(&store, release::Promotion { weight, ..promotion }, &who).await)
            }
        }
    });
    Actor { name, role, gate, task }
}

/// Waits until every actor is at a store call or has ended: those that pause wake, those that hash finish.
async fn settle(actors: &[Actor]) {
    while actors.iter().any(|actor| !actor.task.is_finished() && actor.gate.lock().unwrap().is_none()) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Runs the actors to their ends, one store call at a time; checks the catalog after each.
async fn run(objects: &Objects, mut actors: Vec<Actor>, plan: &[(u8, Verdict)]) -> Vec<(String, Role, Option<Said>)> {
    let mut steps = plan.iter().copied().chain(std::iter::repeat((0, Verdict::Go)));
    let mut ended = Vec::new();
    let mut heads = BTreeMap::new();
    while !actors.is_empty() {
        settle(&actors).await;
        let (choice, verdict) = steps.next().unwrap();
        let at = usize::from(choice) % actors.len();
        if actors[at].task.is_finished() {
            let actor = actors.swap_remove(at);
            ended.push((actor.name, actor.role, Some(actor.task.await.unwrap())));
            continue;
        }
        let open = actors[at].gate.lock().unwrap().take().unwrap();
        open.send(verdict).unwrap();
        if let Verdict::Kill | Verdict::KillAfter = verdict {
            // It takes the verdict, does what it still does, and stays where it is.
            tokio::time::sleep(Duration::from_millis(1)).await;
            let actor = actors.swap_remove(at);
            actor.task.abort();
            ended.push((actor.name, actor.role, None));
        } else {
            settle(&actors).await;
        }
        names_only_whole_versions(&objects.lock().unwrap(), &mut heads);
    }
    ended
}

/// The catalog as it is: every shard is there, every served version is whole; and each generation has one head for ever.
fn names_only_whole_versions(objects: &BTreeMap<String, Bytes>, heads: &mut BTreeMap<u64, Bytes>) {
    let Some(bytes) = objects.get(layout::HEAD) else { return };
    let head: Head = format::read(format::HEAD, bytes).unwrap();
    assert!(heads.last_key_value().is_none_or(|(newest, _)| *newest <= head.generation));
    assert_eq!(heads.entry(head.generation).or_insert_with(|| bytes.clone()), bytes, "two winners");
    for generation in 1..head.generation {
        let copy = objects.get(&layout::old_head(generation)).unwrap();
        assert!(heads.get(&generation).is_none_or(|head| head == copy), "generation {generation}");
    }
    for digest in head.shards.values() {
        let bytes = &objects[&layout::shard(digest)];
        assert_eq!(Digest::of(bytes), *digest);
        let shard: headgate_contract::catalog::Shard = format::read(format::SHARD, bytes).unwrap();
        for (model, release) in &shard.releases {
            for serve in release.serve.iter().chain(release.history.iter().flat_map(|entry| &entry.serve)) {
                whole(objects, model, serve.version, serve.digest);
            }
        }
    }
}

fn whole(objects: &BTreeMap<String, Bytes>, model: &ModelName, version: Version, digest: Digest) {
    assert_eq!(objects[&layout::success(model, version)], format!("{digest}\n"));
    let manifest = &objects[&layout::manifest(model, version)];
    assert_eq!(Digest::of(manifest), digest);
    for file in Manifest::read(manifest).unwrap().files {
        assert_eq!(Digest::of(&objects[&layout::file(model, version, &file.sha256, &file.name)]), file.sha256);
    }
}

/// What an actor said agrees with what the store holds.
fn said_the_truth(objects: &BTreeMap<String, Bytes>, name: &str, said: &Said) {
    let newest: Option<Head> = objects.get(layout::HEAD).map(|bytes| format::read(format::HEAD, bytes).unwrap());
    let old = objects.iter().filter(|(key, _)| key.starts_with("catalog/heads/"));
    let old = old.map(|(_, bytes)| format::read::<Head>(format::HEAD, bytes).unwrap());
    let won: Vec<u64> = old.chain(newest).filter(|head| head.who == name).map(|head| head.generation).collect();
    // The copy of a head that was not replaced after all is the same head.
    let won: std::collections::BTreeSet<u64> = won.into_iter().collect();
    match said {
        Said::Published(Ok(published)) => whole(objects, &the_model(0), published.version, published.digest),
        Said::Published(Err(PublishError::Store(error))) => assert!(error.retryable(), "{error}"),
        Said::Published(Err(error)) => panic!("{error}"),
        Said::Promoted(Ok(promoted)) if promoted.changed => {
            assert_eq!(won.into_iter().collect::<Vec<_>>(), [promoted.generation], "{name}");
        }
        Said::Promoted(Ok(_)) => assert!(won.is_empty(), "{name}: {won:?}"),
        Said::Promoted(Err(ReleaseError::Unknown { .. })) => assert!(won.len() <= 1),
        Said::Promoted(Err(error)) => assert!(won.is_empty(), "{name} was told '{error}' and won {won:?}"),
    }
}

fn roles() -> impl Strategy<Value = Vec<Role>> {
    let publisher = || (0u8..2).prop_map(|build| Role::Publish { build });
    let promoter = || {
        (0u8..2, 1u64..4, any::<bool>()).prop_map(|(model, version, canary)| Role::Promote { model, version, canary })
    };
    (publisher(), publisher(), promoter(), promoter()).prop_map(|(a, b, c, d)| vec![a, b, c, d])
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        60 => Just(Verdict::Go),
        3 => Just(Verdict::LoseReply),
        2 => Just(Verdict::LoseCall),
        1 => Just(Verdict::Kill),
        1 => Just(Verdict::KillAfter),
    ]
}

/// Whole versions and releases to begin with, so that promoters have something to fight for.
async fn prepare(objects: &Objects, whole: u8, released: bool, dir: &Path) {
    let store = store_of(Memory { objects: Arc::clone(objects), gate: None });
    for model in [the_model(0), the_model(1)] {
        for build in 0..whole {
            sample::published(&store, &model, &format!("earlier {build}"), dir).await;
        }
        if released && whole > 0 {
            release::promote(&store, sample::promotion(&model, sample::number(1)), "before").await.unwrap();
        }
    }
}

fn in_a_paused_world<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, work)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_interleaving_breaks_the_catalog(
        roles in roles(),
        earlier in 0u8..3,
        released in any::<bool>(),
        plan in proptest::collection::vec((any::<u8>(), verdict()), 0..160),
    ) {
        in_a_paused_world(async {
            let (objects, dir) = (Objects::default(), tempfile::tempdir().unwrap());
            prepare(&objects, earlier, released, dir.path()).await;
            let actors = roles.into_iter().enumerate().map(|(i, role)| start(&objects, i, role, dir.path())).collect();
            let ended = run(&objects, actors, &plan).await;
            for (name, _, said) in &ended {
                if let Some(said) = said {
                    said_the_truth(&objects.lock().unwrap(), name, said);
                }
            }
            // Every publish that was stopped can simply be run again.
            let store = store_of(Memory { objects: Arc::clone(&objects), gate: None });
            for (_, role, said) in &ended {
                let Role::Publish { build } = role else { continue };
                let new = sample::version(&the_model(0), &format!("build {build}"), dir.path());
                let again = sample::publish(&store, new).await.unwrap();
                whole(&objects.lock().unwrap(), &the_model(0), again.version, again.digest);
                if let Some(Said::Published(Ok(published))) = said {
                    prop_assert_eq!((published.version, published.digest), (again.version, again.digest));
                }
            }
            Ok(())
        })?;
    }
}

/// The faults that matter most, where chance might not find them: the swap's reply lost, once and again.
#[test]
fn a_swap_whose_reply_is_lost_is_known_to_be_won() {
    in_a_paused_world(async {
        for calls in 0..40 {
            for verdict in [Verdict::LoseReply, Verdict::LoseCall] {
                let (objects, dir) = (Objects::default(), tempfile::tempdir().unwrap());
                prepare(&objects, 2, true, dir.path()).await;
                let role = Role::Promote { model: 0, version: 2, canary: false };
                let mut plan = vec![(0, Verdict::Go); calls];
                plan.push((0, verdict));
                let actors = vec![start(&objects, 0, role, dir.path())];
                let ended = run(&objects, actors, &plan).await;
                said_the_truth(&objects.lock().unwrap(), &ended[0].0, ended[0].2.as_ref().unwrap());
            }
        }
    });
}

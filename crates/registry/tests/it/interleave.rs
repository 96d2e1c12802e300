//! Any interleaving of publishers and promoters, each killed at any store call or its reply lost after it took effect,
//! leaves a catalog that names only whole versions, one winner per generation, and no won promotion reported as lost.
//!
//! Each actor's store calls pass a scheduler that lets one through at a time, in the order and with the faults that the
//! property test chose. The clock is paused: an actor that waits before it tries again is simply let wake.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use headgate_contract::{ModelName, Version};
use headgate_registry::release::{self, ReleaseError};
use headgate_registry::{NewVersion, PublishError, Published};
use proptest::prelude::*;
use tokio::task::{JoinHandle, LocalSet};

use crate::memory::{Gate, Memory, Verdict, store_of};
use crate::sample;

mod truth;

use truth::{made, names_only_whole_versions, said_the_truth};

/// Some calls of one actor that pass, and what becomes of the next.
#[derive(Clone, Copy, Debug)]
struct Burst {
    actor: u8,
    before: u8,
    verdict: Verdict,
}

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
    memory: Memory,
    gate: Gate,
    task: JoinHandle<Said>,
}

fn the_model(index: u8) -> ModelName {
    sample::model(["m", "n"][usize::from(index % 2)])
}

/// What is known of an actor at its end.
struct Ended {
    name: String,
    role: Role,
    memory: Memory,
    said: Option<Said>,
}

fn new_version(build: u8, dir: &Path) -> NewVersion {
    sample::version(&the_model(0), &build_name(build), dir)
}

fn build_name(build: u8) -> String {
    format!("build {build}")
}

fn start(memory: &Memory, index: usize, role: Role, dir: &Path) -> Actor {
    let gate = Gate::default();
    let memory = memory.for_actor(&gate);
    let store = store_of(memory.clone());
    let name = format!("actor-{index}");
    let (who, dir, what) = (name.clone(), dir.to_owned(), role.clone());
    let task = tokio::task::spawn_local(async move {
        match what {
            Role::Publish { build } => Said::Published(sample::publish(&store, new_version(build, &dir)).await),
            Role::Promote { model, version, canary } => {
                let weight = canary.then_some(10);
                let promotion = sample::promotion(&the_model(model), Version::new(version).unwrap());
                Said::Promoted(release::promote(&store, release::Promotion { weight, ..promotion }, &who).await)
            }
        }
    });
    Actor { name, role, memory, gate, task }
}

/// Waits until every actor is at a store call or has ended: those that pause wake, those that hash finish.
async fn settle(actors: &[Actor]) {
    while actors.iter().any(|actor| !actor.task.is_finished() && actor.gate.lock().unwrap().is_none()) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Runs the actors to their ends, one store call at a time; checks the catalog after each.
async fn run(memory: &Memory, mut actors: Vec<Actor>, plan: &[Burst]) -> Vec<Ended> {
    let bursts = plan.iter().flat_map(|burst| {
        let before = std::iter::repeat_n((burst.actor, Verdict::Go), usize::from(burst.before));
        before.chain([(burst.actor, burst.verdict)])
    });
    let mut steps = bursts.chain(std::iter::repeat((0, Verdict::Go)));
    let mut ended = Vec::new();
    let mut heads = BTreeMap::new();
    while !actors.is_empty() {
        settle(&actors).await;
        let (choice, verdict) = steps.next().unwrap();
        let at = usize::from(choice) % actors.len();
        if actors[at].task.is_finished() {
            ended.push(actors.swap_remove(at).end().await);
            continue;
        }
        let open = actors[at].gate.lock().unwrap().take().unwrap();
        open.send(verdict).unwrap();
        if let Verdict::Kill | Verdict::KillAfter = verdict {
            // It takes the verdict, does what it still does, and stays where it is.
            tokio::time::sleep(Duration::from_millis(1)).await;
            let Actor { name, role, memory, task, .. } = actors.swap_remove(at);
            task.abort();
            ended.push(Ended { name, role, memory, said: None });
        } else {
            settle(&actors).await;
        }
        memory.passes(actors.is_empty());
        names_only_whole_versions(&memory.objects.lock().unwrap(), &mut heads);
    }
    memory.passes(true);
    names_only_whole_versions(&memory.objects.lock().unwrap(), &mut heads);
    ended
}

impl Actor {
    async fn end(self) -> Ended {
        Ended { name: self.name, role: self.role, memory: self.memory, said: Some(self.task.await.unwrap()) }
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
        12 => Just(Verdict::Go),
        4 => Just(Verdict::LoseReply),
        2 => Just(Verdict::LoseCall),
        2 => (1u8..24).prop_map(Verdict::Late),
        1 => Just(Verdict::Kill),
        1 => Just(Verdict::KillAfter),
    ]
}

/// Whole versions and releases to begin with, so that promoters have something to fight for.
async fn prepare(memory: &Memory, whole: u8, released: bool, dir: &Path) {
    let store = store_of(memory.clone());
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

fn plan() -> impl Strategy<Value = Vec<Burst>> {
    let burst = (any::<u8>(), 0u8..16, verdict()).prop_map(|(actor, before, verdict)| Burst { actor, before, verdict });
    proptest::collection::vec(burst, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, max_shrink_iters: 2_000, failure_persistence: None, ..Default::default() })]
    #[test]
    fn no_interleaving_breaks_the_catalog(roles in roles(), earlier in 0u8..3, released in any::<bool>(), plan in plan()) {
        in_a_paused_world(async {
            let (memory, dir) = (Memory::default(), tempfile::tempdir().unwrap());
            prepare(&memory, earlier, released, dir.path()).await;
            let actors = roles.into_iter().enumerate().map(|(i, role)| start(&memory, i, role, dir.path())).collect();
            let ended = run(&memory, actors, &plan).await;
            ended.iter().for_each(said_the_truth);
            // Every publish that was stopped can simply be run again.
            for ended in &ended {
                let Role::Publish { build } = ended.role else { continue };
                let again = sample::publish(&store_of(memory.clone()), new_version(build, dir.path())).await.unwrap();
                made(&memory.objects.lock().unwrap(), build, &again);
                if let Some(Said::Published(Ok(published))) = &ended.said {
                    prop_assert_eq!((published.version, published.digest), (again.version, again.digest));
                }
            }
            Ok(())
        })?;
    }
}

/// What matters most, where chance might not find it: each call of a promotion lost in each way, while another promotion,
/// of the same model or another, runs from beginning to end before the first hears of anything.
#[test]
fn a_swap_whose_reply_is_lost_is_known_to_be_won() {
    let verdicts = [Verdict::LoseReply, Verdict::LoseCall, Verdict::Late(2), Verdict::Late(9), Verdict::Late(40)];
    let others = [None, Some((0, 3)), Some((1, 2))];
    in_a_paused_world(async {
        for (before, verdict) in (0..24).flat_map(|before| verdicts.map(|verdict| (before, verdict))) {
            for other in others {
                let (memory, dir) = (Memory::default(), tempfile::tempdir().unwrap());
                prepare(&memory, 3, true, dir.path()).await;
                let other = other.map(|(model, version)| Role::Promote { model, version, canary: false });
                let roles = [Some(Role::Promote { model: 0, version: 2, canary: false }), other];
                let start = |(i, role)| start(&memory, i, role, dir.path());
                let actors: Vec<Actor> = roles.into_iter().flatten().enumerate().map(start).collect();
                let mut plan = vec![Burst { actor: 0, before, verdict }];
                if actors.len() > 1 {
                    plan.push(Burst { actor: 1, before: 40, verdict: Verdict::Go });
                }
                run(&memory, actors, &plan).await.iter().for_each(said_the_truth);
            }
        }
    });
}

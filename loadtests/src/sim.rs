//! A fleet in virtual time: the gateway's own pure code (`headgate_balance`) in the order in which a gateway calls it,
//! before backends that work, wait, fail and come back by rules and by seeded chance. The same plan gives the same counts
//! to the last call. What it found is in `docs/SIMULATION.md`.
//!
//! - [`plan`]: what is simulated, by which rules ([`settings`]); [`scenario`]: plans worth a name
//! - [`world`]: what happens, in order; [`server`]: backends; [`view`], [`call`], [`attempt`]: gateways
//! - [`prequal`]: another way to choose, to compare with
//! - [`tally`]: what is counted

pub mod attempt;
pub mod call;
pub mod chance;
pub mod plan;
pub mod prequal;
pub mod queue;
pub mod scenario;
pub mod server;
pub mod settings;
pub mod slab;
pub mod tally;
pub mod view;
pub mod world;

use tally::Told;
use world::World;

/// Runs a plan: what came of it, and how many events there were.
pub fn simulate(plan: &plan::Plan, progress: impl FnMut(f64)) -> (Told, World, u64) {
    let mut world = World::new(plan.clone());
    let events = world.run(progress);
    let ejections = world.gateways.iter().map(|gateway| gateway.view.ejections).sum();
    let told = world.tally.told(world.counted_s(), plan.capacity(), ejections);
    (told, world, events)
}

//! The most that a system does: a closed loop, in which each connection sends its next request when it has its reply.

use std::time::Duration;

use super::ScenarioError;
use crate::driver::{self, Plan};

/// How many connections are tried: few give no queue, many give none that is empty.
const CONNECTIONS: [usize; 3] = [8, 24, 64];
/// The first of them warms caches, connections and clocks.
const WARM_UP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(3);

/// Successful requests a second, with the number of connections that gives the most.
pub(super) async fn measure(plan: Plan) -> Result<f64, ScenarioError> {
    closed(&plan, CONNECTIONS[1], WARM_UP).await?;
    let mut most = 0.0f64;
    for connections in CONNECTIONS {
        most = most.max(closed(&plan, connections, MEASURED).await?);
    }
    Ok(most)
}

async fn closed(plan: &Plan, connections: usize, duration: Duration) -> Result<f64, ScenarioError> {
    let plan = Plan { load: driver::Load::Closed, connections, duration, ..plan.clone() };
    let driven = driver::start(plan)?.finish().await?;
    let succeeded: u64 = driven.tally.phases.iter().map(|phase| phase.succeeded()).sum();
    Ok(succeeded as f64 / driven.length.as_secs_f64())
}

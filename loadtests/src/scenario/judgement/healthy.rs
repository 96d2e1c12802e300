//! Healthy load: callers that wait for their replies, at one real backend. However many they are, none is refused.

use std::time::Duration;

use bytes::Bytes;

use super::{Options, ScenarioError, progress};
use crate::driver::{self, DriverError, Load, Plan};
use crate::report::{LoadReport, Report};
use crate::scenario::stage::Stage;
use crate::system::model;

/// Callers at once.
const CLIENTS: [usize; 3] = [16, 64, 256];
/// The last one's own patience.
const TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn run(options: &Options, report: &mut Report) -> Result<(), ScenarioError> {
    let stage = Stage::start(&options.system, 1).await?;
    let bodies: Vec<Bytes> = model::rows(32, 7).iter().map(|row| Bytes::from(model::body(row))).collect();
    let url = format!("http://{}/v1/models/{}:predict", stage.system.gateway, stage.model);
    let mut last = None;
    for clients in CLIENTS {
        progress(&format!("{clients} clients"));
        let plan = Plan {
            target: url.parse().map_err(DriverError::from)?,
            from: None,
            bodies: bodies.clone(),
            headers: Vec::new(),
            load: Load::Closed,
            duration: options.measured() * options.rounds,
            connections: clients,
            timeout: TIMEOUT,
            expect: None,
            scores: None,
            phases: vec![format!("{clients} clients")],
            bare: true,
            keep: false,
            spin: false,
        };
        let driven = driver::start(plan)?.finish().await?;
        let length = driven.length.as_secs_f64();
        let (phase, failed) = (&driven.tally.phases[0], driven.tally.failed());
        report.figure(format!("replies a second, {clients} clients"), phase.succeeded() as f64 / length, "1/s");
        report.figure(format!("p99, {clients} clients"), phase.quantile_us(0.99) as f64 / 1e3, "ms");
        report.must(format!("calls refused or failed, {clients} clients"), failed as f64, 0.0, "");
        last = Some(driven);
    }
    report.load = last.as_ref().map(LoadReport::from);
    stage.system.stop().await?;
    Ok(())
}

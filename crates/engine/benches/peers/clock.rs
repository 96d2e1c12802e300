//! Time that a thread spent on a processor, so that what else the machine does counts little.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use crate::contender::Failed;

/// Seconds of processor time of this thread.
pub(crate) fn thread() -> Result<f64, Failed> {
    Ok(seconds(ClockId::ThreadCPUTime))
}

/// Seconds of processor time of all threads of this process.
pub(crate) fn process() -> Result<f64, Failed> {
    Ok(seconds(ClockId::ProcessCPUTime))
}

fn seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Keeps this process on the last of the cores that it may use (the first serves most interrupts), and names it.
pub(crate) fn pin() -> Result<usize, Failed> {
    let allowed = sched_getaffinity(None)?;
    let core = (0..CpuSet::MAX_CPU).rev().find(|&c| allowed.is_set(c)).unwrap_or(0);
    let mut one = CpuSet::new();
    one.set(core);
    sched_setaffinity(None, &one)?;
    Ok(core)
}

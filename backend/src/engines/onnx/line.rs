//! Calls that wait for a version, gathered into runs.
//!
//! Of one version one run is under way at a time; what comes meanwhile is the next run, up to a bound of rows. So batches
//! grow with the load and nobody waits for a full one, unless a delay is configured. Work that can't meet its deadline is
//! refused before it waits, and calls that were given up leave the line.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headgate_contract::Kind;
use headgate_engine::{Batch, Outputs};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::gang::Gang;
use super::stop::{Stop, Ticket};
use crate::refusal::Refusal;

/// What a run does.
pub(super) trait Work: Send + Sync {
    /// Why a call's rows can't be scored; asked of each call alone.
    fn check(&self, batch: &Batch) -> Result<(), Refusal>;
    /// Scores the rows of several calls, one after another: an answer for each. `stop` ends it early.
    fn score(&self, calls: &[&Batch], stop: &Stop) -> Result<Vec<Outputs>, Refusal>;
}

/// What bounds a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// The most rows of one run, where they are of several calls.
    pub(super) rows_max: usize,
    /// How long the first call of a run waits for others.
    pub(super) delay: Duration,
    /// The most rows that wait; an empty line takes any call.
    pub(super) waiting_max: usize,
}

/// The calls that wait for one version.
pub(super) struct Line {
    work: Box<dyn Work>,
    bounds: Bounds,
    calls: Mutex<Calls>,
    /// Told of each call that comes, for a run that waits for more.
    more: Condvar,
    /// What a row costs, in nanoseconds, as the runs so far have it.
    row_ns: AtomicU64,
}

#[derive(Default)]
struct Calls {
    waiting: VecDeque<Call>,
    rows_waiting: usize,
    rows_running: usize,
    /// Whether a thread of the gang has this line, or will.
    taken: bool,
}

/// A call that waits.
struct Call {
    batch: Batch,
    came: Instant,
    deadline: Instant,
    ticket: Arc<Ticket>,
    answer: oneshot::Sender<Result<Outputs, Refusal>>,
}

// === impl Line ===

impl Line {
    pub(super) fn new(work: Box<dyn Work>, bounds: Bounds) -> Arc<Self> {
        let (calls, more, row_ns) = Default::default();
        Arc::new(Self { work, bounds, calls, more, row_ns })
    }

    /// Scores rows by a deadline, on a thread of the gang.
    pub(super) async fn score(
        self: &Arc<Self>,
        gang: &Gang,
        batch: Batch,
        deadline: Instant,
    ) -> Result<Outputs, Refusal> {
        let ticket = Arc::new(Ticket::default());
        let (answer, answered) = oneshot::channel();
        // Dropped with this future: the call was given up.
        let _held = ticket.hold();
        self.join(gang, Call { batch, came: Instant::now(), deadline, ticket, answer })?;
        match tokio::time::timeout_at(deadline, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) if Instant::now() < deadline => Err(Refusal::new(Kind::Internal, "scoring it panicked")),
            Ok(Err(_)) | Err(_) => Err(late()),
        }
    }

    /// Forgets what a row costs: what a first run takes says nothing of others.
    pub(super) fn forget_cost(&self) {
        self.row_ns.store(0, Ordering::Relaxed);
    }

    /// What a row costs, in nanoseconds; 0 where that is not known.
    pub(super) fn row_ns(&self) -> u64 {
        self.row_ns.load(Ordering::Relaxed)
    }

    fn join(self: &Arc<Self>, gang: &Gang, call: Call) -> Result<(), Refusal> {
        let rows = call.batch.rows();
        let mut calls = self.lock();
        if calls.rows_waiting > 0 && calls.rows_waiting + rows > self.bounds.waiting_max {
            let words = format!("{} rows wait for this version already", calls.rows_waiting);
            return Err(Refusal::new(Kind::Overloaded, words));
        }
        let before = calls.rows_waiting + calls.rows_running;
        // An empty line takes any call: a guess that is far too high must be able to learn better.
        if before > 0 && call.came + self.cost(before + rows) > call.deadline {
            let words = format!("{before} rows are before this call's {rows}: it can't meet its deadline");
            return Err(Refusal::new(Kind::Overloaded, words));
        }
        calls.rows_waiting += rows;
        calls.waiting.push_back(call);
        if !calls.taken {
            calls.taken = true;
            gang.take(Arc::clone(self));
        }
        drop(calls);
        self.more.notify_one();
        Ok(())
    }

    /// One run. Whether calls are left that need another.
    pub(super) fn run(&self) -> bool {
        let calls = self.gather();
        let rows: usize = calls.iter().map(|call| call.batch.rows()).sum();
        // A panic is a bug of ours or of the binding, and costs its own calls only: their answers are dropped with them.
        let _ = catch_unwind(AssertUnwindSafe(|| self.answer(calls)));
        let mut left = self.lock();
        left.rows_running -= rows;
        left.taken = !left.waiting.is_empty();
        left.taken
    }

    /// The calls of the next run.
    fn gather(&self) -> Vec<Call> {
        let mut calls = self.lock();
        while let Some(first) = calls.waiting.front() {
            let until = (first.came + self.bounds.delay).min(first.deadline);
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || calls.rows_waiting >= self.bounds.rows_max {
                break;
            }
            calls = self.more.wait_timeout(calls, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let (mut taken, mut rows) = (Vec::new(), 0);
        while let Some(call) = calls.waiting.front() {
            let more = call.batch.rows();
            if !taken.is_empty() && rows + more > self.bounds.rows_max {
                break;
            }
            rows += more;
            taken.extend(calls.waiting.pop_front());
        }
        calls.rows_waiting -= rows;
        calls.rows_running += rows;
        taken
    }

    /// Answers calls from one run; where that fails, each from a run of its own, so that none fails for another.
    fn answer(&self, mut calls: Vec<Call>) {
        calls.retain(|call| Instant::now() < call.deadline && !call.ticket.is_dropped());
        calls = calls
            .into_iter()
            .filter_map(|call| match self.work.check(&call.batch) {
                Ok(()) => Some(call),
                Err(refusal) => {
                    call.reply(Err(refusal));
                    None
                }
            })
            .collect();
        match self.scored(&calls) {
            Ok(answers) => calls.into_iter().zip(answers).for_each(|(call, answer)| call.reply(Ok(answer))),
            Err(_) if calls.len() > 1 => {
                for call in calls {
                    let alone = self.scored(std::slice::from_ref(&call));
                    let answer = alone.and_then(|mut answers| answers.pop().ok_or_else(late));
                    call.reply(answer);
                }
            }
            Err(refusal) => calls.into_iter().for_each(|call| call.reply(Err(refusal.clone()))),
        }
    }

    fn scored(&self, calls: &[Call]) -> Result<Vec<Outputs>, Refusal> {
        // Ends the run once nobody waits for it.
        let stop = Stop::of(calls.iter().map(|call| &*call.ticket));
        if stop.is_asked() {
            return Err(late());
        }
        let started = Instant::now();
        let batches: Vec<&Batch> = calls.iter().map(|call| &call.batch).collect();
        let answers = self.work.score(&batches, &stop)?;
        let rows = batches.iter().map(|batch| batch.rows()).sum::<usize>().max(1);
        let took = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX) / rows as u64;
        // What came before weighs half.
        let known = if self.row_ns() == 0 { took } else { self.row_ns().saturating_add(took) / 2 };
        self.row_ns.store(known, Ordering::Relaxed);
        Ok(answers)
    }

    fn cost(&self, rows: usize) -> Duration {
        Duration::from_nanos(self.row_ns().saturating_mul(rows as u64)).min(Duration::from_secs(1 << 20))
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call {
    fn reply(self, answer: Result<Outputs, Refusal>) {
        // Nobody hears it where the call was given up.
        let _ = self.answer.send(answer);
    }
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Line({} ns a row)", self.row_ns())
    }
}

fn late() -> Refusal {
    Refusal::new(Kind::DeadlineExceeded, "the deadline passed before it was scored")
}

#[cfg(test)]
mod tests;

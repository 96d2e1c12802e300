//! Where an origin's calls are worked on: so many at once, the others in line in the order in which they came.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep, timeout_at};

use super::work::{FailAs, Work};

/// The path at which it tells [`Counts`].
pub const COUNTS_PATH: &str = "/origin/counts";
/// Calls since the last switch that are told one by one.
const SEEN_MAX: usize = 4_096;
/// How long a call without a time of its own may wait.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// It was worked on.
    Answered,
    /// It failed with status 500.
    Failed,
    /// The line is full.
    Refused,
    /// Its time passed while it waited.
    Late,
    /// The connection is to be reset.
    Reset,
}

/// What an origin has done since it began.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Calls that came.
    pub calls: u64,
    /// That were answered.
    pub answered: u64,
    /// That failed.
    pub failed: u64,
    /// That found the line full.
    pub refused: u64,
    /// Whose time passed in line.
    pub late: u64,
    /// That nobody waited for any more.
    pub cancelled: u64,
    /// In flight now.
    pub in_flight: u64,
    /// The first calls since it was told what to do, each as it came.
    pub seen: Vec<Seen>,
}

/// A call as it came.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// When, in milliseconds since the last switch.
    pub at_ms: f64,
    /// How long an answer is of use, as it said, in milliseconds; 0: it did not say.
    pub told_ms: u64,
}

/// The desk.
#[derive(Debug)]
pub(super) struct Desk {
    work: Cell<Work>,
    since: Cell<Instant>,
    /// Something else is done from now on.
    switched: Notify,
    servers: Semaphore,
    line: Cell<u32>,
    chance: RefCell<StdRng>,
    counts: RefCell<Counts>,
}

/// A call that is in flight until this is dropped; dropped before it is done, nobody waits for it any more.
struct InFlight<'d> {
    desk: &'d Desk,
    done: bool,
}

/// A place in the line.
struct InLine<'d>(&'d Desk);

impl Desk {
    pub(super) fn new(servers: u32, work: Work) -> Rc<Self> {
        Rc::new(Self {
            work: Cell::new(work),
            since: Cell::new(Instant::now()),
            switched: Notify::new(),
            servers: Semaphore::new(servers.max(1) as usize),
            line: Cell::new(0),
            chance: RefCell::new(StdRng::from_os_rng()),
            counts: RefCell::default(),
        })
    }

    /// Whether calls are answered as soon as they are read.
    pub(super) fn is_idle(&self) -> bool {
        self.work.get().is_none()
    }

    /// Does something else from now on.
    pub(super) fn switch(&self, work: Work) {
        self.work.set(work);
        self.since.set(Instant::now());
        self.counts.borrow_mut().seen.clear();
        self.switched.notify_waiters();
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts.borrow().clone()
    }

    /// Calls in flight.
    pub(super) fn in_flight(&self) -> u64 {
        self.counts.borrow().in_flight
    }

    /// Works on a call, an answer to which is of use for `timeout_ms` milliseconds; 0: for ever. Dropped, it was
    /// cancelled.
    pub(super) async fn serve(&self, timeout_ms: u64) -> Done {
        let came = Instant::now();
        let mut in_flight =
            InFlight::new(self, Seen { at_ms: ms(came - self.since.get().min(came)), told_ms: timeout_ms });
        let patience = if timeout_ms == 0 { PATIENCE } else { Duration::from_millis(timeout_ms).min(PATIENCE) };
        let done = self.work_on(came + patience).await;
        in_flight.done = true;
        let mut counts = self.counts.borrow_mut();
        *match done {
            Done::Answered => &mut counts.answered,
            Done::Failed | Done::Reset => &mut counts.failed,
            Done::Refused => &mut counts.refused,
            Done::Late => &mut counts.late,
        } += 1;
        done
    }

    async fn work_on(&self, deadline: Instant) -> Done {
        let work = self.work.get();
        if work.fail > 0.0 && self.chance() < work.fail {
            if work.fail_after_ms > 0.0 {
                sleep(Duration::from_secs_f64(work.fail_after_ms / 1e3)).await;
            }
            return if work.fail_as == FailAs::Reset { Done::Reset } else { Done::Failed };
        }
        while self.work.get().hangs {
            self.switched.notified().await;
        }
        let server = match self.servers.try_acquire() {
            Ok(server) => server,
            Err(_) => {
                if self.line.get() >= work.line_max {
                    return Done::Refused;
                }
                let _place = InLine::new(self);
                match timeout_at(deadline, self.servers.acquire()).await {
                    Ok(Ok(server)) => server,
                    _ => return Done::Late,
                }
            }
        };
        let service = self.work.get().service(self.chance());
        if !service.is_zero() {
            sleep(service).await;
        }
        drop(server);
        Done::Answered
    }

    fn chance(&self) -> f64 {
        self.chance.borrow_mut().random()
    }
}

impl<'d> InFlight<'d> {
    fn new(desk: &'d Desk, seen: Seen) -> Self {
        let mut counts = desk.counts.borrow_mut();
        counts.calls += 1;
        counts.in_flight += 1;
        if counts.seen.len() < SEEN_MAX {
            counts.seen.push(seen);
        }
        Self { desk, done: false }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let mut counts = self.desk.counts.borrow_mut();
        counts.in_flight -= 1;
        counts.cancelled += u64::from(!self.done);
    }
}

impl<'d> InLine<'d> {
    fn new(desk: &'d Desk) -> Self {
        desk.line.set(desk.line.get() + 1);
        Self(desk)
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.0.line.set(self.0.line.get() - 1);
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow(line_max: u32) -> Work {
        Work { service_ms: 10.0, line_max, ..Work::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn two_servers_take_their_time_and_the_rest_wait_in_order() {
        let desk = Desk::new(2, slow(2));
        let began = Instant::now();
        let timed = |timeout_ms| {
            let desk = &desk;
            async move { (desk.serve(timeout_ms).await, (Instant::now() - began).as_millis()) }
        };
        let all = tokio::join!(timed(0), timed(0), timed(0), timed(5), timed(0));
        assert_eq!((all.0, all.1), ((Done::Answered, 10), (Done::Answered, 10)));
        assert_eq!(all.2, (Done::Answered, 20), "it waited for a server");
        assert_eq!(all.3, (Done::Late, 5), "its time passed in line");
        assert_eq!(all.4, (Done::Refused, 0), "two wait already");
        let counts = desk.counts();
        assert_eq!((counts.calls, counts.answered, counts.late, counts.refused, counts.in_flight), (5, 3, 1, 1, 0));
        assert_eq!(counts.seen.iter().map(|seen| seen.told_ms).collect::<Vec<_>>(), [0, 0, 0, 5, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_cancelled_leaves_the_line_and_who_hangs_waits_for_a_switch() {
        let desk = Desk::new(1, slow(9));
        let first = desk.serve(0);
        let gone = tokio::time::timeout(Duration::from_millis(4), desk.serve(0));
        let (first, gone) = tokio::join!(first, gone);
        assert!(first == Done::Answered && gone.is_err());
        assert_eq!((desk.counts().cancelled, desk.in_flight(), desk.line.get()), (1, 0, 0));
        desk.switch(Work { hangs: true, ..slow(9) });
        let release = async {
            sleep(Duration::from_secs(3)).await;
            desk.switch(Work { fail: 1.0, ..slow(9) });
            desk.serve(0).await
        };
        let began = Instant::now();
        assert_eq!(tokio::join!(desk.serve(0), release), (Done::Answered, Done::Failed));
        assert_eq!(began.elapsed(), Duration::from_millis(3_010));
        assert_eq!(desk.counts().seen.len(), 1, "counted from the switch on");
    }
}

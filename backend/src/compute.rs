//! Threads for calls that are too large to be scored where they are read, with a bound on what waits.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use headgate_contract::Kind;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::predict::Desk;
use crate::refusal::Refusal;

thread_local! {
    static DESK: RefCell<Option<Box<Desk>>> = const { RefCell::new(None) };
}

/// A pool of compute threads. They end with it.
#[derive(Debug)]
pub struct Compute {
    shared: Arc<Shared>,
    threads: u64,
    queue_max: usize,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    /// The estimated cost of all that waits or runs, in nanoseconds.
    backlog_ns: AtomicU64,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Box<dyn FnOnce() + Send>>,
    closed: bool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Queue({} jobs)", self.jobs.len())
    }
}

impl Compute {
    /// Starts so many threads, with room for so many waiting jobs.
    pub fn new(threads: usize, queue_max: usize) -> std::io::Result<Self> {
        let shared = Arc::<Shared>::default();
        for n in 0..threads {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name(format!("headgate-score-{n}")).spawn(move || work(&shared))?;
        }
        Ok(Self { shared, threads: threads.max(1) as u64, queue_max })
    }

    /// Runs work of an estimated cost by a deadline. Refused at once where there is no room, or where what is before it
    /// would make it late.
    pub async fn run<T: Send + 'static>(
        &self,
        cost: Duration,
        deadline: Instant,
        work: impl FnOnce(&mut Desk) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let cost_ns = u64::try_from(cost.as_nanos()).unwrap_or(u64::MAX / 2).min(u64::MAX / 1_000_000);
        let backlog = Duration::from_nanos(self.shared.backlog_ns.load(Ordering::Relaxed) / self.threads);
        if Instant::now() + backlog + cost > deadline {
            let words =
                format!("about {} ms of work are before this call: it can't meet its deadline", backlog.as_millis());
            return Err(Refusal::new(Kind::Overloaded, words));
        }
        let (send, receive) = oneshot::channel();
        let spent = Spent { shared: Arc::clone(&self.shared), cost_ns };
        self.shared.backlog_ns.fetch_add(cost_ns, Ordering::Relaxed);
        let job = Box::new(move || {
            let _spent = spent;
            // The caller has gone, or its deadline has passed, while this waited.
            if send.is_closed() || Instant::now() >= deadline {
                return;
            }
            let _ = send.send(with_desk(work));
        });
        self.push(job)?;
        match tokio::time::timeout_at(deadline, receive).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) if Instant::now() < deadline => Err(Refusal::new(Kind::Internal, "scoring it panicked")),
            Ok(Err(_)) | Err(_) => {
                Err(Refusal::new(Kind::DeadlineExceeded, "the deadline passed before it was scored"))
            }
        }
    }

    /// How many jobs wait.
    pub fn waiting(&self) -> usize {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).jobs.len()
    }

    fn push(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Refusal> {
        let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.jobs.len() >= self.queue_max {
            let words = format!("{} large calls are waiting already", self.queue_max);
            return Err(Refusal::new(Kind::Overloaded, words));
        }
        queue.jobs.push_back(job);
        drop(queue);
        self.shared.wake.notify_one();
        Ok(())
    }
}

impl Drop for Compute {
    fn drop(&mut self) {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.shared.wake.notify_all();
    }
}

/// Takes a job's cost off the backlog, however it ends.
struct Spent {
    shared: Arc<Shared>,
    cost_ns: u64,
}

impl Drop for Spent {
    fn drop(&mut self) {
        self.shared.backlog_ns.fetch_sub(self.cost_ns, Ordering::Relaxed);
    }
}

/// Lends this thread's working memory.
pub fn with_desk<T>(work: impl FnOnce(&mut Desk) -> T) -> T {
    // Taken out meanwhile, so that a panic or a call within a call finds none and makes its own.
    let mut desk = DESK.with_borrow_mut(Option::take).unwrap_or_default();
    let done = work(&mut desk);
    desk.shrink();
    DESK.set(Some(desk));
    done
}

fn work(shared: &Shared) {
    loop {
        let job = {
            let mut queue = shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                if let Some(job) = queue.jobs.pop_front() {
                    break job;
                }
                if queue.closed {
                    return;
                }
                queue = shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        };
        // A panic is a bug of ours, and costs its own call only.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::mpsc;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn work_is_done_and_a_panic_costs_its_own_call_only() {
        let compute = Compute::new(1, 4).unwrap();
        let panicked = compute.run::<()>(Duration::ZERO, soon(), |_| panic!("on purpose")).await;
        assert_eq!(panicked.unwrap_err().kind, Kind::Internal);
        assert_eq!(compute.run(Duration::ZERO, soon(), |_| Ok(7)).await.unwrap(), 7);
        assert_eq!(compute.shared.backlog_ns.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn what_would_be_late_or_finds_no_room_is_refused_at_once() {
        let compute = Arc::new(Compute::new(1, 1).unwrap());
        let (release, hold) = mpsc::channel::<()>();
        let (started, has_started) = oneshot::channel();
        let running = tokio::spawn({
            let compute = Arc::clone(&compute);
            async move {
                let work = move |_: &mut Desk| {
                    let _ = started.send(());
                    let _ = hold.recv();
                    Ok(())
                };
                compute.run(Duration::from_secs(30), soon(), work).await
            }
        });
        has_started.await.unwrap();
        let late = compute.run(Duration::ZERO, Instant::now() + Duration::from_secs(20), |_| Ok(())).await;
        assert_eq!(late.unwrap_err().kind, Kind::Overloaded);
        let waiting = tokio::spawn({
            let compute = Arc::clone(&compute);
            async move { compute.run(Duration::ZERO, soon(), |_| Ok(1)).await }
        });
        while compute.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        let refused = compute.run(Duration::ZERO, soon(), |_| Ok(())).await.unwrap_err();
        assert!(refused.kind == Kind::Overloaded && refused.message.contains("waiting already"), "{refused}");
        release.send(()).unwrap();
        running.await.unwrap().unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), 1);
    }
}

//! The requests of one HTTP/2 connection: how many there are, and whether one of them, or the connection, has been there
//! for too long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config::Limits;

/// How often the timer looks, at most and at least.
const LOOK: [Duration; 2] = [Duration::from_secs(5), Duration::from_millis(10)];

/// The requests of a connection.
#[derive(Debug)]
pub(super) struct Streams {
    started: Instant,
    /// Those in flight, by the parity of the round in which they began: a timer per connection tells by it which are
    /// older than a round. The last are those that may [`Stream::stay`].
    in_flight: [AtomicU32; 3],
    round: AtomicU32,
    /// Milliseconds from the start until it began to idle.
    idle_since: AtomicU64,
    /// No more requests are wanted.
    closing: Notify,
}

/// A request; it counts until it is dropped.
#[derive(Debug)]
pub(super) struct Stream {
    streams: Arc<Streams>,
    /// Where it is counted.
    at: usize,
}

/// Where those are counted that may stay.
const STAYING: usize = 2;

/// What a connection has done for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Nothing.
    Idle,
    /// One request.
    Busy,
}

impl Streams {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            started: Instant::now(),
            in_flight: Default::default(),
            round: AtomicU32::new(0),
            idle_since: AtomicU64::new(0),
            closing: Notify::new(),
        })
    }

    /// A request begins.
    pub(super) fn begin(self: &Arc<Self>) -> Stream {
        let parity = self.parity();
        self.in_flight[parity].fetch_add(1, Relaxed);
        Stream { streams: Arc::clone(self), at: parity }
    }

    /// No more requests are wanted on this connection.
    pub(super) fn close(&self) {
        self.closing.notify_one();
    }

    /// Waits for [`Self::close`].
    pub(super) async fn closing(&self) {
        self.closing.notified().await;
    }

    /// Waits until the connection has idled for longer than it may, or a request has been there for more than the time
    /// for one, and less than twice that.
    pub(super) async fn overdue(&self, limits: &Limits) -> Overdue {
        let mut round_ends = Instant::now() + limits.request_max;
        loop {
            let now = Instant::now();
            let is_empty = self.in_flight.iter().all(|count| count.load(Relaxed) == 0);
            let idle = Duration::from_millis(self.idle_since.load(Relaxed)) + limits.keep_alive;
            if is_empty && self.started.elapsed() >= idle {
                return Overdue::Idle;
            }
            if now >= round_ends {
                if self.in_flight[1 - self.parity()].load(Relaxed) > 0 {
                    return Overdue::Busy;
                }
                self.round.fetch_add(1, Relaxed);
                round_ends = now + limits.request_max;
            }
            let [most, least] = LOOK;
            let next = (limits.keep_alive / 4).min(round_ends - now).clamp(least, most);
            tokio::time::sleep(next).await;
        }
    }

    fn parity(&self) -> usize {
        (self.round.load(Relaxed) % 2) as usize
    }
}

impl Stream {
    /// It may last as long as its caller wants.
    pub(super) fn stay(&mut self) {
        self.streams.in_flight[STAYING].fetch_add(1, Relaxed);
        self.streams.in_flight[self.at].fetch_sub(1, Relaxed);
        self.at = STAYING;
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let now = u64::try_from(self.streams.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.streams.idle_since.store(now, Relaxed);
        self.streams.in_flight[self.at].fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use headgate_contract::config::Sources;

    use super::*;
    use crate::config::Config;

    fn limits() -> Limits {
        let mut limits = Config::load(&Sources::default()).unwrap().limits;
        limits.keep_alive = Duration::from_secs(10);
        limits.request_max = Duration::from_secs(60);
        limits
    }

    async fn overdue_after(streams: &Streams) -> (Overdue, u64) {
        let began = Instant::now();
        let what = streams.overdue(&limits()).await;
        (what, began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn it_idles_from_the_end_of_the_last_request() {
        let streams = Streams::new();
        let two = [streams.begin(), streams.begin()];
        let watched = tokio::spawn({
            let streams = Arc::clone(&streams);
            async move { overdue_after(&streams).await }
        });
        tokio::time::sleep(Duration::from_secs(30)).await;
        drop(two);
        let (what, after) = watched.await.unwrap();
        assert_eq!(what, Overdue::Idle);
        assert!((40..=43).contains(&after), "{after} s");
    }

    #[tokio::test(start_paused = true)]
    async fn one_request_may_not_last_and_many_short_ones_and_those_that_stay_may() {
        let streams = Streams::new();
        let short = tokio::spawn({
            let streams = Arc::clone(&streams);
            async move {
                for _ in 0..100 {
                    let (first, second) = (streams.begin(), streams.begin());
                    tokio::time::sleep(Duration::from_secs(7)).await;
                    drop((first, second));
                }
            }
        });
        let mut stays = streams.begin();
        stays.stay();
        let until = tokio::time::timeout(Duration::from_secs(900), streams.overdue(&limits())).await;
        assert!(until.is_err(), "{until:?}");
        short.await.unwrap();
        let _lasts = streams.begin();
        let (what, after) = overdue_after(&streams).await;
        assert_eq!(what, Overdue::Busy);
        assert!((60..=125).contains(&after), "{after} s");
    }
}

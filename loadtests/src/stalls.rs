//! When the machine stood still. On a virtual machine the host takes cores away for milliseconds, which every reply under way
//! then takes longer: of what is measured, a tail of some tenths of a millisecond can't be seen among them.
//!
//! A watcher ([`run`], one on each core, at a priority above all else there) wakes many times a second and notes when it woke
//! late. Nothing that runs on its core can keep it from waking but the host, and a kernel that handles interrupts. Replies
//! that such a time touched are then left out ([`undisturbed`]), whoever they are of, and how many those were is told.

use std::io::{self, Write as _};
use std::str::FromStr;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How to watch.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// How often it wakes, in microseconds
    #[arg(long, default_value_t = 100, value_name = "US", value_parser = clap::value_parser!(u32).range(20..=1_000_000))]
    pub every_us: u32,
    /// How late it must wake to note it, in microseconds
    #[arg(long, default_value_t = 100, value_name = "US", value_parser = clap::value_parser!(u32).range(20..=1_000_000))]
    pub late_us: u32,
}

/// A time in which the machine stood still, on the clock of [`now`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// Its begin, at the earliest.
    pub begin: Duration,
    /// Its end.
    pub end: Duration,
}

/// The system's clock that never jumps, the same for all processes.
pub fn now() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Watches until its output is closed or it is killed; writes a line for each time that the machine stood still.
pub fn run(options: &Options) -> io::Result<()> {
    let (every, late) = (Duration::from_micros(options.every_us.into()), Duration::from_micros(options.late_us.into()));
    let mut out = io::stdout().lock();
    // A reader must see that it is there.
    writeln!(out, "watching")?;
    out.flush()?;
    let mut at = now();
    loop {
        let due = at + every;
        std::thread::sleep(due.saturating_sub(now()));
        at = now();
        if at > due + late {
            writeln!(out, "{}", Stall { begin: due, end: at })?;
            out.flush()?;
        }
    }
}

/// Which of these calls (each when it was due and how long it took) the machine did not disturb: those that were not under
/// way while it stood still, nor due in as much time again, in which what had heaped up is worked off.
pub fn undisturbed(calls: &[(Duration, Duration)], stalls: &[Stall]) -> Vec<Duration> {
    let mut spans: Vec<(Duration, Duration)> =
        stalls.iter().map(|stall| (stall.begin, stall.end + stall.end.saturating_sub(stall.begin))).collect();
    spans.sort_unstable();
    // The latest end of all spans up to each: what begins before a call ends may be long over, but not this.
    let mut latest = Duration::ZERO;
    let ends: Vec<Duration> = spans
        .iter()
        .map(|(_, end)| {
            latest = latest.max(*end);
            latest
        })
        .collect();
    let touched = |due: Duration, latency: Duration| {
        let began = spans.partition_point(|(begin, _)| *begin < due + latency);
        began.checked_sub(1).is_some_and(|last| ends[last] > due)
    };
    calls.iter().filter(|(due, latency)| !touched(*due, *latency)).map(|(_, latency)| *latency).collect()
}

impl std::fmt::Display for Stall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.begin.as_nanos(), self.end.as_nanos())
    }
}

impl FromStr for Stall {
    type Err = ();

    fn from_str(line: &str) -> Result<Self, ()> {
        let (begin, end) = line.split_once(' ').ok_or(())?;
        let time = |text: &str| text.parse().map(Duration::from_nanos).map_err(|_| ());
        Ok(Self { begin: time(begin)?, end: time(end)? })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn left(calls: &[(u64, u64)], stalls: &[(u64, u64)]) -> Vec<u64> {
        let calls: Vec<_> = calls.iter().map(|(due, took)| (ms(*due), ms(*took))).collect();
        let stalls: Vec<_> = stalls.iter().map(|(begin, end)| Stall { begin: ms(*begin), end: ms(*end) }).collect();
        undisturbed(&calls, &stalls).iter().map(|left| left.as_millis() as u64).collect()
    }

    #[test]
    fn calls_that_a_stall_touched_are_left_out() {
        // Over before it, under way when it begins, due in it, due while the heap is worked off, due after that.
        let calls = [(0, 10), (5, 11), (16, 2), (22, 3), (30, 4)];
        assert_eq!(left(&calls, &[(15, 20)]), [10, 4]);
        assert_eq!(left(&calls, &[]), [10, 11, 2, 3, 4]);
    }

    #[test]
    fn a_long_stall_is_not_hidden_by_a_short_one_within_it() {
        assert_eq!(left(&[(70, 1), (90, 1), (181, 1)], &[(55, 56), (0, 90)]), [1]);
        assert_eq!(left(&[(70, 1)], &[(0, 90), (10, 11), (20, 21)]), [0; 0]);
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let stall = Stall { begin: Duration::from_nanos(123), end: ms(4567) };
        assert_eq!(stall.to_string().parse(), Ok(stall));
        assert_eq!("watching".parse::<Stall>(), Err(()));
    }
}

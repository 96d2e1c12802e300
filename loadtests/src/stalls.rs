//! When the machine stood still. On a virtual machine the host takes cores away for milliseconds, which every reply under way
//! then takes longer: of what is measured, a tail of some tenths of a millisecond can't be seen among them.
//!
//! A watcher ([`run`], one on each core, at a priority above all else there) wakes many times a second and notes when it woke
//! late. Nothing that runs on its core can keep it from waking but the host, and a kernel that handles interrupts. Replies
//! that such a time touched are then left out ([`typical`]), whoever they are of, and how many those were is told.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::str::FromStr;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Of calls in so much time quantiles are found.
const SLICE: Duration = Duration::from_millis(100);

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

/// A call: when it was due, and how long it took.
pub type Call = (Duration, Duration);

/// Latency where the machine is at its best half of the time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Typical {
    /// The median, in the median slice of time.
    pub p50: Duration,
    /// 99 % of a slice's latencies are at most this, in the median slice.
    pub p99: Duration,
    /// Which part of all calls a stall touched.
    pub disturbed: f64,
}

/// The latencies of those calls that no stall touched, slice by slice: beside what a watcher sees, a host slows a core down
/// for tenths of a second, and one such time would be the tail of all.
pub fn typical(calls: &[Call], stalls: &[Stall]) -> Typical {
    let touched = Touched::by(stalls);
    let mut slices: BTreeMap<u128, Vec<Duration>> = BTreeMap::new();
    for (due, latency) in calls.iter().filter(|call| !touched.has(**call)) {
        slices.entry(due.as_nanos() / SLICE.as_nanos()).or_default().push(*latency);
    }
    let left: usize = slices.values().map(Vec::len).sum();
    // Of few calls the slowest is no quantile.
    let least = left / (2 * slices.len().max(1));
    slices.retain(|_, slice| slice.len() >= least);
    slices.values_mut().for_each(|slice| slice.sort_unstable());
    let median = |percent| {
        let mut each: Vec<Duration> = slices.values().map(|slice| quantile(slice, percent)).collect();
        each.sort_unstable();
        quantile(&each, 50)
    };
    let disturbed = 1.0 - left as f64 / calls.len().max(1) as f64;
    Typical { p50: median(50), p99: median(99), disturbed }
}

/// The smallest that so many percent are not above.
fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// The times in which a call is touched by a stall: while the machine stood still, and as much time again, in which what
/// had heaped up is worked off.
struct Touched {
    begins: Vec<Duration>,
    /// The latest end of all up to each: what begins last before a call ends may be long over, but not this.
    ends: Vec<Duration>,
}

impl Touched {
    fn by(stalls: &[Stall]) -> Self {
        let mut spans: Vec<(Duration, Duration)> =
            stalls.iter().map(|stall| (stall.begin, stall.end + stall.end.saturating_sub(stall.begin))).collect();
        spans.sort_unstable();
        let mut latest = Duration::ZERO;
        let ends = spans.iter().map(|(_, end)| {
            latest = latest.max(*end);
            latest
        });
        Self { ends: ends.collect(), begins: spans.iter().map(|(begin, _)| *begin).collect() }
    }

    /// Whether a call was under way in one of them.
    fn has(&self, (due, latency): Call) -> bool {
        let begun = self.begins.partition_point(|begin| *begin < due + latency);
        begun.checked_sub(1).and_then(|last| self.ends.get(last)).is_some_and(|end| *end > due)
    }
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
        let touched = Touched::by(&stalls.iter().map(|(from, to)| stall(*from, *to)).collect::<Vec<_>>());
        calls.iter().filter(|(due, took)| !touched.has((ms(*due), ms(*took)))).map(|(_, took)| *took).collect()
    }

    fn stall(begin: u64, end: u64) -> Stall {
        Stall { begin: ms(begin), end: ms(end) }
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
    fn the_typical_slice_counts_and_not_one_that_is_slow_or_nearly_empty() {
        // In the middle of each of ten slices 100 calls of 1 to 100 us; in one of them each takes ten times as long.
        let slices = (0..10).map(|slice| (SLICE * slice + SLICE / 2, if slice == 4 { 10 } else { 1 }));
        let calls: Vec<Call> =
            slices.flat_map(|(due, times)| (1..=100).map(move |us| (due, Duration::from_micros(us) * times))).collect();
        let (p50, p99) = (Duration::from_micros(50), Duration::from_micros(99));
        assert_eq!(typical(&calls, &[]), Typical { p50, p99, disturbed: 0.0 });
        // All but one of another's.
        let begin = SLICE * 7 + SLICE / 2 + Duration::from_nanos(1_500);
        let touched = typical(&calls, &[Stall { begin, end: begin + ms(1) }]);
        assert_eq!((touched.p50, touched.p99), (p50, p99));
        assert!((touched.disturbed - 0.099).abs() < 1e-9, "{touched:?}");
        assert_eq!(typical(&[], &[]), Typical { disturbed: 1.0, ..Typical::default() });
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let stall = Stall { begin: Duration::from_nanos(123), end: ms(4567) };
        assert_eq!(stall.to_string().parse(), Ok(stall));
        assert_eq!("watching".parse::<Stall>(), Err(()));
    }
}

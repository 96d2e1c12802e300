//! Calls by model and version: plain atomics on the hot path, and a bound on what a scrape shows.
//!
//! A scrape names the busiest models and adds up the rest as `other`. Each scrape hands what came since the last one
//! either to the model's own lines or to `other`, so that both only ever grow, whoever is busiest.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headgate_contract::{Kind, ModelName, Version};
use tokio::time::Instant;

/// The most models that a scrape names.
pub const MODELS_MAX: usize = 200;
/// Series beyond which those of versions that are gone are added to `other` without waiting for a scrape.
const KEPT_MIN: usize = 1024;
/// Upper bounds of the latency buckets, in seconds.
const BOUNDS: [f64; 12] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0];
/// Good replies, then the kinds of errors.
const CODES: usize = 1 + Kind::ALL.len();
const BUCKETS: usize = CODES;
const SECONDS: usize = BUCKETS + BOUNDS.len() + 1;
const ROWS: usize = SECONDS + 1;
const IGNORED: usize = ROWS + 1;
const REFUSED_NS: usize = IGNORED + 1;
const SLOTS: usize = REFUSED_NS + 1;
/// A moment on both clocks, so that no call reads the second one.
static MOMENT: LazyLock<(Instant, SystemTime)> = LazyLock::new(|| (Instant::now(), SystemTime::now()));

/// How a call ended.
#[derive(Clone, Copy, Debug)]
pub enum Outcome {
    /// With a prediction for so many rows, so many values ignored.
    Answered {
        /// Rows scored.
        rows: usize,
        /// Values of features that the version does not know.
        ignored: u64,
    },
    /// With an error.
    Refused(Kind),
}

/// The calls of one version.
#[derive(Debug)]
pub struct Series {
    slots: [AtomicU64; SLOTS],
    /// When the last call ended, in milliseconds since 1970.
    last_ms: AtomicU64,
}

/// What the calls of one version come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Calls that ended with a prediction.
    pub answered: u64,
    /// How long they took together, in nanoseconds.
    pub answered_ns: u64,
    /// Calls that ended with an error.
    pub refused: u64,
    /// How long they took together, in nanoseconds.
    pub refused_ns: u64,
    /// Rows scored.
    pub rows: u64,
    /// When the last call ended, in milliseconds since 1970; 0 for never.
    pub last_ms: u64,
}

/// All series.
#[derive(Debug, Default)]
pub struct SeriesBook {
    pages: Mutex<Pages>,
    /// Calls that no version answered.
    unresolved: Arc<Series>,
}

#[derive(Debug, Default)]
struct Pages {
    tracked: HashMap<(ModelName, Version), Tracked>,
    /// Twice what was left when those that are gone were last looked for.
    kept_max: usize,
    other: Sums,
}

/// A series as the scrapes have seen it.
#[derive(Debug)]
struct Tracked {
    series: Arc<Series>,
    last: Sums,
    shown: Sums,
}

#[derive(Clone, Debug)]
struct Sums([u64; SLOTS]);

impl Default for Sums {
    fn default() -> Self {
        Self([0; SLOTS])
    }
}

impl Default for Series {
    fn default() -> Self {
        Self { slots: std::array::from_fn(|_| AtomicU64::new(0)), last_ms: AtomicU64::new(0) }
    }
}

// === impl Series ===

impl Series {
    /// Counts a call that ends now.
    pub fn count_since(&self, outcome: Outcome, started: Instant) {
        let now = Instant::now();
        let (moment, time) = *MOMENT;
        let time = time + now.saturating_duration_since(moment);
        let last_ms = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        self.last_ms.store(last_ms as u64, Ordering::Relaxed);
        self.count(outcome, now - started);
    }

    /// Counts a call.
    pub fn count(&self, outcome: Outcome, taken: Duration) {
        let add = |slot: usize, value: u64| self.slots[slot].fetch_add(value, Ordering::Relaxed);
        match outcome {
            Outcome::Answered { rows, ignored } => {
                add(0, 1);
                add(ROWS, rows as u64);
                if ignored > 0 {
                    add(IGNORED, ignored);
                }
            }
            Outcome::Refused(kind) => {
                let at = Kind::ALL.iter().position(|k| *k == kind).unwrap_or(0);
                add(1 + at, 1);
                add(REFUSED_NS, taken.as_nanos() as u64);
            }
        }
        let seconds = taken.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        add(BUCKETS + bucket, 1);
        add(SECONDS, taken.as_nanos() as u64);
    }

    /// What the calls so far come to.
    pub fn totals(&self) -> Totals {
        let Sums(slots) = self.sums();
        Totals {
            answered: slots[0],
            answered_ns: slots[SECONDS].saturating_sub(slots[REFUSED_NS]),
            refused: slots[1..CODES].iter().sum(),
            refused_ns: slots[REFUSED_NS],
            rows: slots[ROWS],
            last_ms: self.last_ms.load(Ordering::Relaxed),
        }
    }

    fn sums(&self) -> Sums {
        Sums(std::array::from_fn(|slot| self.slots[slot].load(Ordering::Relaxed)))
    }
}

// === impl SeriesBook ===

impl SeriesBook {
    /// The series of a version; the one that is there, where there is one.
    pub fn series(&self, model: &ModelName, version: Version) -> Arc<Series> {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if pages.tracked.len() >= pages.kept_max.max(KEPT_MIN) {
            pages.forget();
        }
        let new = || Tracked { series: Arc::default(), last: Sums::default(), shown: Sums::default() };
        Arc::clone(&pages.tracked.entry((model.clone(), version)).or_insert_with(new).series)
    }

    /// Where calls are counted that no version answered.
    pub fn unresolved(&self) -> &Series {
        &self.unresolved
    }

    /// Writes all series in Prometheus' text format. Series whose version is gone are shown for the last time.
    pub fn render(&self, page: &mut String) {
        let mut lines = Vec::new();
        {
            let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
            let named = pages.busiest();
            let Pages { tracked, other, .. } = &mut *pages;
            for ((model, version), tracked) in tracked.iter_mut() {
                let is_named = named.as_ref().is_none_or(|named| named.contains(model));
                let now = tracked.series.sums();
                let to = if is_named { &mut tracked.shown } else { &mut *other };
                to.add(&now, &tracked.last);
                tracked.last = now;
                if is_named {
                    lines.push((model.to_string(), version.to_string(), tracked.shown.clone()));
                }
            }
            lines.push(("other".to_owned(), String::new(), other.clone()));
            tracked.retain(|_, tracked| Arc::strong_count(&tracked.series) > 1);
        }
        lines.push((String::new(), String::new(), self.unresolved.sums()));
        lines.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        write_page(page, &lines);
    }
}

impl Pages {
    /// Adds what those that are gone were called since the last scrape to `other`: where nobody scrapes, each swap would
    /// leave one behind.
    fn forget(&mut self) {
        let other = &mut self.other;
        self.tracked.retain(|_, tracked| {
            let is_gone = Arc::strong_count(&tracked.series) == 1;
            if is_gone {
                other.add(&tracked.series.sums(), &tracked.last);
            }
            !is_gone
        });
        self.kept_max = 2 * self.tracked.len();
    }

    /// The models that are named; none where all are.
    fn busiest(&self) -> Option<std::collections::HashSet<ModelName>> {
        let mut calls: HashMap<&ModelName, u64> = HashMap::new();
        for ((model, _), tracked) in &self.tracked {
            let sums = tracked.series.sums();
            *calls.entry(model).or_default() += sums.0[..CODES].iter().sum::<u64>();
        }
        if calls.len() <= MODELS_MAX {
            return None;
        }
        let mut order: Vec<(&ModelName, u64)> = calls.into_iter().collect();
        order.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        Some(order.into_iter().take(MODELS_MAX).map(|(model, _)| model.clone()).collect())
    }
}

impl Sums {
    fn add(&mut self, now: &Sums, last: &Sums) {
        for (slot, sum) in self.0.iter_mut().enumerate() {
            *sum += now.0[slot] - last.0[slot];
        }
    }
}

fn write_page(page: &mut String, lines: &[(String, String, Sums)]) {
    // Writing to memory can't fail.
    let _ = writeln!(page, "# TYPE headgate_requests_total counter");
    for (model, version, sums) in lines {
        let mut code = |status: u16, error: &str, count: u64| {
            if count > 0 {
                let _ = writeln!(
                    page,
                    "headgate_requests_total{{model=\"{model}\",version=\"{version}\",code=\"{status}\",error=\"{error}\"}} {count}"
                );
            }
        };
        code(200, "", sums.0[0]);
        Kind::ALL.iter().enumerate().for_each(|(at, kind)| code(kind.status(), kind.as_str(), sums.0[1 + at]));
    }
    for (name, slot) in [("headgate_rows_total", ROWS), ("headgate_ignored_values_total", IGNORED)] {
        let _ = writeln!(page, "# TYPE {name} counter");
        for (model, version, sums) in lines.iter().filter(|l| l.2.0[slot] > 0) {
            let _ = writeln!(page, "{name}{{model=\"{model}\",version=\"{version}\"}} {}", sums.0[slot]);
        }
    }
    let _ = writeln!(page, "# TYPE headgate_request_seconds histogram");
    for (model, version, sums) in lines {
        write_histogram(page, model, version, sums);
    }
}

fn write_histogram(page: &mut String, model: &str, version: &str, sums: &Sums) {
    let labels = format!("model=\"{model}\",version=\"{version}\"");
    let buckets = &sums.0[BUCKETS..SECONDS];
    let count: u64 = buckets.iter().sum();
    if count == 0 {
        return;
    }
    let mut below = 0;
    for (bound, bucket) in BOUNDS.iter().zip(buckets) {
        below += bucket;
        let _ = writeln!(page, "headgate_request_seconds_bucket{{{labels},le=\"{bound}\"}} {below}");
    }
    let _ = writeln!(page, "headgate_request_seconds_bucket{{{labels},le=\"+Inf\"}} {count}");
    let _ = writeln!(page, "headgate_request_seconds_sum{{{labels}}} {}", sums.0[SECONDS] as f64 / 1e9);
    let _ = writeln!(page, "headgate_request_seconds_count{{{labels}}} {count}");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn answered(series: &Series, times: usize) {
        (0..times).for_each(|_| series.count(Outcome::Answered { rows: 2, ignored: 1 }, Duration::from_micros(300)));
    }

    fn page(book: &SeriesBook) -> String {
        let mut page = String::new();
        book.render(&mut page);
        page
    }

    #[test]
    fn calls_are_shown_by_model_version_and_code() {
        let book = SeriesBook::default();
        let series = book.series(&"m".parse().unwrap(), Version::FIRST);
        answered(&series, 3);
        series.count(Outcome::Refused(Kind::InvalidRequest), Duration::from_secs(2));
        book.unresolved().count(Outcome::Refused(Kind::NotFound), Duration::ZERO);
        let page = page(&book);
        for line in [
            "headgate_requests_total{model=\"m\",version=\"1\",code=\"200\",error=\"\"} 3",
            "headgate_requests_total{model=\"m\",version=\"1\",code=\"400\",error=\"invalid_request\"} 1",
            "headgate_requests_total{model=\"\",version=\"\",code=\"404\",error=\"not_found\"} 1",
            "headgate_rows_total{model=\"m\",version=\"1\"} 6",
            "headgate_ignored_values_total{model=\"m\",version=\"1\"} 3",
            "headgate_request_seconds_bucket{model=\"m\",version=\"1\",le=\"0.00025\"} 0",
            "headgate_request_seconds_bucket{model=\"m\",version=\"1\",le=\"0.0005\"} 3",
            "headgate_request_seconds_count{model=\"m\",version=\"1\"} 4",
        ] {
            assert!(page.contains(line), "{line} is not in\n{page}");
        }
    }

    #[test]
    fn totals_tell_answers_from_errors() {
        let series = Series::default();
        assert_eq!(series.totals(), Totals::default());
        answered(&series, 3);
        series.count(Outcome::Refused(Kind::InvalidRequest), Duration::from_nanos(7));
        series.count_since(Outcome::Refused(Kind::Internal), Instant::now());
        let totals = series.totals();
        assert_eq!((totals.answered, totals.answered_ns, totals.refused, totals.rows), (3, 900_000, 2, 6));
        assert!(totals.refused_ns >= 7);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        assert!(totals.last_ms.abs_diff(now) < 60_000, "{totals:?}");
    }

    #[test]
    fn beyond_the_busiest_it_is_other_and_nothing_ever_shrinks() {
        let book = SeriesBook::default();
        let all: Vec<_> =
            (0..MODELS_MAX + 1).map(|n| book.series(&format!("m{n}").parse().unwrap(), Version::FIRST)).collect();
        all.iter().enumerate().for_each(|(n, series)| answered(series, if n == 0 { 1 } else { 5 }));
        let count = |page: &str, model: &str| {
            let line = format!("headgate_requests_total{{model=\"{model}\",");
            page.lines().find(|l| l.starts_with(&line)).map(|l| l.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        };
        let first = page(&book);
        assert_eq!((count(&first, "m0"), count(&first, "other"), count(&first, "m1")), (None, Some(1), Some(5)));
        answered(&all[0], 9);
        let second = page(&book);
        assert_eq!((count(&second, "m0"), count(&second, "other")), (Some(9), Some(1)));
        assert_eq!(second.matches("# TYPE headgate_requests_total").count(), 1);
    }

    #[test]
    fn a_version_that_is_gone_is_forgotten() {
        let book = SeriesBook::default();
        drop(book.series(&"m".parse().unwrap(), Version::FIRST));
        page(&book);
        assert!(book.pages.lock().unwrap().tracked.is_empty());
    }

    #[test]
    fn without_scrapes_those_that_are_gone_are_bounded_and_still_counted() {
        let book = SeriesBook::default();
        for version in 1..=5 * KEPT_MIN as u64 {
            answered(&book.series(&"m".parse().unwrap(), Version::new(version).unwrap()), 1);
        }
        assert!(book.pages.lock().unwrap().tracked.len() <= KEPT_MIN);
        let page = page(&book);
        let counts = page.lines().filter(|l| l.starts_with("headgate_requests_total{"));
        assert_eq!(
            counts.map(|l| l.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum::<usize>(),
            5 * KEPT_MIN
        );
    }
}

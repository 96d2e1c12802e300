//! What an origin does with its calls. Told nothing it answers at once; told how long a call takes and how many are worked on
//! at once, it passes for a backend of that capacity, by sleeping: what it models takes no processor time from what is
//! measured.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The path at which it is told, by a POST of [`Work`] as JSON.
pub const WORK_PATH: &str = "/origin/work";

/// What it does, until it is told otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct Work {
    /// How long a call is worked on in the mean, in milliseconds; 0: not at all
    #[arg(long, default_value_t = 0.0, value_name = "MS")]
    pub service_ms: f64,
    /// How the times of single calls lie around the mean
    #[arg(long, default_value = "constant")]
    pub law: Law,
    /// Calls that wait in line at most; more are refused as `overloaded`
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    pub line_max: u32,
    /// The part of calls that fail, 0 to 1, before they wait or are worked on
    #[arg(long, default_value_t = 0.0, value_name = "PART")]
    pub fail: f64,
    /// How they fail
    #[arg(long, default_value = "internal")]
    pub fail_as: FailAs,
    /// After how long, in milliseconds
    #[arg(long, default_value_t = 0.0, value_name = "MS")]
    pub fail_after_ms: f64,
    /// Take calls and answer none
    #[arg(long)]
    pub hangs: bool,
}

/// How service times lie around their mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Law {
    /// All alike.
    #[default]
    Constant,
    /// Exponentially: many short ones, some that take several times the mean.
    Exponential,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum FailAs {
    /// A reply of status 500.
    #[default]
    Internal,
    /// The connection is reset, with all that is in flight on it.
    Reset,
}

/// A behaviour that makes no sense. The caller's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("origin can't do that: {0}")]
pub struct WorkError(&'static str);

/// The longest time that can be told, in milliseconds.
const TIME_MS_MAX: f64 = 600_000.0;

impl Default for Work {
    fn default() -> Self {
        Self {
            service_ms: 0.0,
            law: Law::Constant,
            line_max: 10_000,
            fail: 0.0,
            fail_as: FailAs::Internal,
            fail_after_ms: 0.0,
            hangs: false,
        }
    }
}

impl Work {
    /// Whether every call is answered as soon as it is read.
    pub(super) fn is_none(&self) -> bool {
        self.service_ms == 0.0 && self.fail == 0.0 && !self.hangs
    }

    /// Whether it can be done.
    pub fn check(&self) -> Result<(), WorkError> {
        if ![self.service_ms, self.fail_after_ms].iter().all(|ms| (0.0..=TIME_MS_MAX).contains(ms)) {
            return Err(WorkError("a time of 0 to 600000 ms expected"));
        }
        if !(0.0..=1.0).contains(&self.fail) {
            return Err(WorkError("a part of failing calls of 0 to 1 expected"));
        }
        Ok(())
    }

    /// How long one call is worked on; `chance` is uniform over 0 to 1.
    pub(super) fn service(&self, chance: f64) -> Duration {
        let factor = match self.law {
            Law::Constant => 1.0,
            // 1 - u is in (0, 1]: its logarithm is finite.
            Law::Exponential => -(1.0 - chance).max(f64::MIN_POSITIVE).ln(),
        };
        Duration::from_secs_f64(self.service_ms * factor / 1e3)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn service_times_have_their_mean() {
        let work = Work { service_ms: 8.0, law: Law::Exponential, ..Work::default() };
        let mean = (0..100_000).map(|at| work.service((f64::from(at) + 0.5) / 1e5).as_secs_f64()).sum::<f64>() / 1e5;
        assert!((mean - 0.008).abs() < 1e-5, "{mean}");
        assert_eq!(Work { law: Law::Constant, ..work }.service(0.9), Duration::from_millis(8));
        assert!(work.service(1.0) < Duration::from_secs(10), "chance is below 1, and its end is finite all the same");
    }

    #[test]
    fn what_is_told_is_read_and_nonsense_is_not() {
        let told: Work = serde_json::from_str(r#"{"service_ms": 2.5, "fail_as": "reset"}"#).unwrap();
        assert_eq!((told.service_ms, told.fail_as, told.line_max), (2.5, FailAs::Reset, 10_000));
        assert!(serde_json::from_str::<Work>(r#"{"service": 2}"#).is_err());
        for bad in
            [Work { fail: 1.5, ..told }, Work { service_ms: -1.0, ..told }, Work { fail_after_ms: f64::NAN, ..told }]
        {
            assert!(bad.check().is_err(), "{bad:?}");
        }
        assert!(told.check().is_ok() && Work::default().is_none() && !told.is_none());
    }
}

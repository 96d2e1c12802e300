//! When requests arrive. The schedule knows nothing of replies: that is what makes the load open-loop.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// The law of the arrivals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Law {
    /// Independent callers: the gaps are exponential.
    Poisson,
    /// A metronome: the gaps are equal.
    Constant,
}

/// An endless list of arrival times, counted from the start of the load.
#[derive(Debug)]
pub struct Schedule {
    law: Law,
    rate_per_s: f64,
    random: StdRng,
    count: u64,
    at_s: f64,
}

impl Schedule {
    /// Arrivals at `rate_per_s` (above 0); the same seed gives the same list.
    pub fn new(law: Law, rate_per_s: f64, seed: u64) -> Self {
        Self { law, rate_per_s, random: StdRng::seed_from_u64(seed), count: 0, at_s: 0.0 }
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.count += 1;
        self.at_s = match self.law {
            // From the count, so that rounding never adds up.
            Law::Constant => self.count as f64 / self.rate_per_s,
            // 1 - u is in (0, 1]: its logarithm is finite.
            Law::Poisson => self.at_s - (1.0 - self.random.random::<f64>()).ln() / self.rate_per_s,
        };
        Duration::try_from_secs_f64(self.at_s).ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn constant_arrivals_keep_their_rate_without_drift() {
        let arrivals: Vec<Duration> = Schedule::new(Law::Constant, 3000.0, 1).take(3_000_000).collect();
        assert_eq!(arrivals[2999], Duration::from_secs(1));
        assert_eq!(arrivals[2_999_999], Duration::from_secs(1000));
    }

    #[test]
    fn poisson_gaps_have_the_mean_and_spread_of_an_exponential() {
        let arrivals: Vec<f64> =
            Schedule::new(Law::Poisson, 1000.0, 7).take(200_000).map(|at| at.as_secs_f64()).collect();
        let gaps: Vec<f64> = arrivals.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean * 1000.0 - 1.0).abs() < 0.02, "mean {mean}");
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.02, "deviation {}", variance.sqrt());
        assert!(gaps.iter().all(|gap| *gap >= 0.0));
    }

    #[test]
    fn a_seed_gives_the_same_arrivals_again() {
        let list = |seed| Schedule::new(Law::Poisson, 50.0, seed).take(100).collect::<Vec<_>>();
        assert_eq!(list(3), list(3));
        assert_ne!(list(3), list(4));
    }
}

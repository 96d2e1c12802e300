//! Chance from a seed: the same numbers in every run.

use headgate_balance::hash::{STEP, mix};

/// SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The stream `stream` of a seed: streams have nothing to do with one another.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut chance = Self(seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95));
        Self(chance.bits() ^ stream)
    }

    /// Uniform over all of u64.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// Uniform from 0 to below 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform over `0..n`; 0 for none.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    /// Of the exponential distribution with this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// Of the log-normal distribution with mean 1, the normal one's deviation being `sigma` (by Box and Muller).
    pub fn lognormal(&mut self, sigma: f64) -> f64 {
        let (radius, angle) = ((-2.0 * (1.0 - self.unit()).ln()).sqrt(), std::f64::consts::TAU * self.unit());
        (sigma * radius * angle.cos() - sigma * sigma / 2.0).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_and_means_are_right() {
        let (mut a, mut b) = (Chance::new(1, 0), Chance::new(1, 1));
        assert!((0..100).all(|_| a.bits() != b.bits()));
        let mean = |draw: &mut dyn FnMut() -> f64| (0..200_000).map(|_| draw()).sum::<f64>() / 200_000.0;
        let means =
            [mean(&mut || a.exponential(3.0)) / 3.0, mean(&mut || a.lognormal(0.8)), mean(&mut || 2.0 * b.unit())];
        assert!(means.iter().all(|mean| (mean - 1.0).abs() < 0.02), "{means:?}");
        assert!((0..1_000).all(|_| b.below(7) < 7));
    }
}

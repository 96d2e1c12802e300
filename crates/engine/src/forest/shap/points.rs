//! Gauss-Legendre quadrature on 0 to 1: with `n` points the integral of a polynomial up to degree `2 n - 1` is exact.

/// The numbers of points that there are kernels for.
pub(super) const SIZES: [usize; 7] = [2, 4, 8, 12, 16, 32, 64];

/// The place in [`SIZES`] of the fewest points that integrate over trees whose paths ask at most so many different
/// columns; none where they are too many. Each column is a factor of degree 1, and the one that is explained is left out.
pub(super) fn size_for(columns: usize) -> Option<usize> {
    SIZES.iter().position(|points| 2 * points >= columns)
}

/// Points and their weights.
#[derive(Clone, Debug)]
pub(super) struct Points {
    pub(super) at: Vec<f64>,
    /// `1 - at`, not rounded once more.
    pub(super) rest: Vec<f64>,
    pub(super) weight: Vec<f64>,
}

impl Points {
    /// The roots of the Legendre polynomial by Newton's method. Only sums, products and quotients, so that every
    /// processor gives the same bits.
    pub(super) fn new(n: usize) -> Self {
        let (mut at, mut rest, mut weight) = (Vec::new(), Vec::new(), Vec::new());
        for k in 0..n.div_ceil(2) {
            let angle = std::f64::consts::PI * (k as f64 + 0.75) / (n as f64 + 0.5);
            let mut x = cosine(angle);
            for _ in 0..8 {
                let (value, slope) = legendre(n, x);
                x -= value / slope;
            }
            let slope = legendre(n, x).1;
            at.push((1.0 - x) / 2.0);
            rest.push((1.0 + x) / 2.0);
            weight.push(1.0 / ((1.0 - x * x) * slope * slope));
        }
        // The other half mirrors it.
        for k in (0..n / 2).rev() {
            at.push(rest[k]);
            rest.push(at[k]);
            weight.push(weight[k]);
        }
        Self { at, rest, weight }
    }
}

/// A start for Newton's method, within 1e-4 from 0 to a right angle.
fn cosine(angle: f64) -> f64 {
    let square = angle * angle;
    1.0 - square / 2.0 * (1.0 - square / 12.0 * (1.0 - square / 30.0 * (1.0 - square / 56.0)))
}

/// The Legendre polynomial of degree `n` and its derivative.
fn legendre(n: usize, x: f64) -> (f64, f64) {
    let (mut before, mut value) = (1.0, x);
    for k in 2..=n {
        let k = k as f64;
        (before, value) = (value, ((2.0 * k - 1.0) * x * value - (k - 1.0) * before) / k);
    }
    (value, n as f64 * (x * value - before) / (x * x - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_up_to_the_degree_are_integrated_exactly() {
        for n in SIZES {
            let points = Points::new(n);
            assert!(points.at.iter().zip(&points.at[1..]).all(|(a, b)| a < b), "{n} points rise");
            for degree in 0..2 * n {
                let terms = points.at.iter().zip(&points.weight).map(|(t, w)| w * t.powi(degree as i32));
                let (sum, exact) = (terms.sum::<f64>(), 1.0 / (degree as f64 + 1.0));
                assert!((sum - exact).abs() < 1e-14, "{n} points, degree {degree}: {sum}, expected {exact}");
            }
        }
    }

    #[test]
    fn as_many_points_as_needed() {
        assert_eq!(size_for(0), Some(0));
        assert_eq!(size_for(4).map(|s| SIZES[s]), Some(2));
        assert_eq!(size_for(5).map(|s| SIZES[s]), Some(4));
        assert_eq!(size_for(128).map(|s| SIZES[s]), Some(64));
        assert_eq!(size_for(129), None);
    }
}

//! Numbers.

use super::mean;

/// The root of the mean squared error.
pub fn rmse(predictions: &[f64], labels: &[f64]) -> f64 {
    mean(predictions.iter().zip(labels).map(|(p, y)| (p - y) * (p - y))).sqrt()
}

/// The mean absolute error.
pub fn mae(predictions: &[f64], labels: &[f64]) -> f64 {
    mean(predictions.iter().zip(labels).map(|(p, y)| (p - y).abs()))
}

/// The part of the labels' variance that the predictions explain; none where the labels do not vary.
pub fn r2(predictions: &[f64], labels: &[f64]) -> Option<f64> {
    let middle = mean(labels.iter().copied());
    let total: f64 = labels.iter().map(|y| (y - middle) * (y - middle)).sum();
    let left: f64 = predictions.iter().zip(labels).map(|(p, y)| (p - y) * (p - y)).sum();
    (total > 0.0).then(|| 1.0 - left / total)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn known_values() {
        // scikit-learn 1.9's r2_score and mean_absolute_error.
        let (labels, predictions) = ([3.0, -0.5, 2.0, 7.0], [2.5, 0.0, 2.0, 8.0]);
        assert!((r2(&predictions, &labels).unwrap() - 0.948_608_137_044_967_9).abs() < 1e-12);
        assert_eq!(mae(&predictions, &labels), 0.5);
        assert!((rmse(&predictions, &labels) - 0.375_f64.sqrt()).abs() < 1e-15);
        assert_eq!(r2(&predictions, &[1.0; 4]), None);
    }
}

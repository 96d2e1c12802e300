//! Several classes. Probabilities are row by row, one for each class; labels are the class's place.

use super::{mean, surprise};

/// The mean of -ln(probability of the class that it was).
pub fn log_loss(probabilities: &[f64], classes: usize, labels: &[f64]) -> f64 {
    mean(
        probabilities
            .chunks_exact(classes)
            .zip(labels)
            .map(|(row, y)| surprise(row[*y as usize]))
            .collect::<Vec<_>>()
            .into_iter(),
    )
}

/// The part of the rows where the likeliest class was the right one.
pub fn accuracy(probabilities: &[f64], classes: usize, labels: &[f64]) -> f64 {
    let likeliest = |row: &[f64]| (1..row.len()).fold(0, |best, at| if row[at] > row[best] { at } else { best });
    let right =
        probabilities.chunks_exact(classes).zip(labels).filter(|(row, y)| likeliest(row) == **y as usize).count();
    right as f64 / labels.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let probabilities = [0.5, 0.25, 0.25, 0.1, 0.8, 0.1, 0.3, 0.3, 0.4];
        let labels = [0.0, 1.0, 0.0];
        let expected = -(0.5_f64.ln() + 0.8_f64.ln() + 0.3_f64.ln()) / 3.0;
        assert!((log_loss(&probabilities, 3, &labels) - expected).abs() < 1e-15);
        assert!((accuracy(&probabilities, 3, &labels) - 2.0 / 3.0).abs() < 1e-15);
    }
}

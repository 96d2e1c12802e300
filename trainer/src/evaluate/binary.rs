//! Two classes.

use super::{Bin, mean, surprise};

/// Ranges of probabilities that calibration is looked at in.
const BINS: usize = 10;

/// The area under the ROC curve: the chance that a positive row is scored above a negative one, ties half (Mann and
/// Whitney). None where one class is absent. `labels` are 0 or 1.
pub fn auc(scores: &[f64], labels: &[f64]) -> Option<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    let (mut positives, mut rank_sum, mut at) = (0.0, 0.0, 0);
    while at < order.len() {
        let tied = order[at..].iter().take_while(|row| scores[**row] == scores[order[at]]).count().max(1);
        // Ranks count from 1; tied rows share the mean of theirs.
        let rank = at as f64 + (tied as f64 + 1.0) / 2.0;
        let here = order[at..at + tied].iter().filter(|row| labels[**row] > 0.5).count() as f64;
        positives += here;
        rank_sum += rank * here;
        at += tied;
    }
    let negatives = scores.len() as f64 - positives;
    let pairs = positives * negatives;
    (pairs > 0.0).then(|| (rank_sum - positives * (positives + 1.0) / 2.0) / pairs)
}

/// The mean of -ln(probability of what happened).
pub fn log_loss(probabilities: &[f64], labels: &[f64]) -> f64 {
    mean(probabilities.iter().zip(labels).map(|(p, y)| surprise(if *y > 0.5 { *p } else { 1.0 - p })))
}

/// The mean squared difference of probability and outcome (Brier 1950).
pub fn brier(probabilities: &[f64], labels: &[f64]) -> f64 {
    mean(probabilities.iter().zip(labels).map(|(p, y)| (p - y) * (p - y)))
}

/// The part of the rows where the likelier class was the right one.
pub fn accuracy(probabilities: &[f64], labels: &[f64]) -> f64 {
    mean(probabilities.iter().zip(labels).map(|(p, y)| f64::from(u8::from((*p > 0.5) == (*y > 0.5)))))
}

/// Predicted against observed, in ten ranges of equal width; ranges without rows are left out.
pub fn calibration(probabilities: &[f64], labels: &[f64]) -> Vec<Bin> {
    let mut sums = [(0_usize, 0.0, 0.0); BINS];
    for (p, y) in probabilities.iter().zip(labels) {
        let (rows, predicted, positive) = &mut sums[((p * BINS as f64) as usize).min(BINS - 1)];
        *rows += 1;
        *predicted += p;
        *positive += y;
    }
    let bin = |(at, (rows, predicted, positive)): (usize, (usize, f64, f64))| Bin {
        from: at as f64 / BINS as f64,
        to: (at + 1) as f64 / BINS as f64,
        rows,
        predicted: predicted / rows as f64,
        observed: positive / rows as f64,
    };
    sums.into_iter().enumerate().filter(|(_, (rows, ..))| *rows > 0).map(bin).collect()
}

/// The expected calibration error: the mean distance of predicted and observed, over the rows.
pub fn calibration_error(bins: &[Bin]) -> f64 {
    let rows: usize = bins.iter().map(|bin| bin.rows).sum();
    bins.iter().map(|bin| bin.rows as f64 * (bin.predicted - bin.observed).abs()).sum::<f64>() / rows as f64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn known_values() {
        // scikit-learn 1.9's roc_auc_score, log_loss and brier_score_loss.
        let (labels, scores) = ([0.0, 0.0, 1.0, 1.0], [0.1, 0.4, 0.35, 0.8]);
        assert_eq!(auc(&scores, &labels), Some(0.75));
        assert!((log_loss(&scores, &labels) - 0.472_287_953_809_176_15).abs() < 1e-15);
        assert!((brier(&scores, &labels) - 0.158_125).abs() < 1e-15);
        assert_eq!(accuracy(&scores, &labels), 0.75);
        assert_eq!(auc(&[0.5; 4], &labels), Some(0.5));
        assert_eq!(auc(&[0.5, 0.5, 0.5, 0.9], &labels), Some(0.75));
        assert_eq!(auc(&scores, &[1.0; 4]), None);
        assert!(log_loss(&[0.0], &[1.0]).is_finite());
    }

    #[test]
    fn calibration_is_seen_in_bins() {
        let bins = calibration(&[0.05, 0.05, 0.95, 1.0], &[0.0, 1.0, 1.0, 1.0]);
        assert_eq!(bins.iter().map(|b| b.rows).collect::<Vec<_>>(), [2, 2]);
        assert_eq!((bins[0].observed, bins[1].observed), (0.5, 1.0));
        assert!((calibration_error(&bins) - (0.45 + 0.025) / 2.0).abs() < 1e-12);
    }
}

//! Training round by round, with early stopping.

use super::params::Parameters;
use super::{Dataset, Library, LightgbmError, Matrix};

/// The rows of one part.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// The features.
    pub matrix: Matrix,
    /// The target.
    pub labels: Vec<f32>,
}

/// A model as text.
#[derive(Clone, Debug)]
pub struct Trained {
    /// LightGBM's text format.
    pub text: String,
    /// Rounds that it has.
    pub rounds: usize,
    /// The metric that was watched and its value at that round.
    pub metric: Option<(String, f64)>,
    /// What LightGBM warned of.
    pub warnings: Vec<String>,
}

/// How far training is.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    /// The round, from 1.
    pub round: usize,
    /// The most there will be.
    pub of: usize,
    /// The metric's name and value on the validation rows.
    pub metric: Option<(String, f64)>,
}

/// Metrics of which more is better.
fn rises(metric: &str) -> bool {
    let stem = metric.split('@').next().unwrap_or(metric);
    matches!(stem, "auc" | "auc_mu" | "average_precision" | "ndcg" | "map" | "r2")
}

/// Trains on `train`; stops early by the first metric on `valid`, where that has rows. `text` is LightGBM's parameters.
pub fn train(
    library: &Library,
    (train, valid): (Part, Part),
    names: &[String],
    parameters: &Parameters,
    text: &str,
    on_round: &mut dyn FnMut(Round),
) -> Result<Trained, LightgbmError> {
    let (result, log) = library.logged(|| {
        let validated = !valid.labels.is_empty();
        let rows = library.dataset(&train.matrix, &train.labels, names, text, None)?;
        let valid: Option<Dataset> = match validated {
            true => Some(library.dataset(&valid.matrix, &valid.labels, names, text, Some(&rows))?),
            false => None,
        };
        // The booster holds binned copies: the matrices are not needed any more.
        drop(train);
        grow(library.booster(rows, valid, text)?, validated, parameters, on_round)
    });
    let mut trained = result.map_err(|error| with_given(error, parameters))?;
    trained.warnings = warnings(&log);
    Ok(trained)
}

/// The library does not always name the parameter that it can't read.
fn with_given(error: LightgbmError, parameters: &Parameters) -> LightgbmError {
    let given: Vec<String> = parameters.given().iter().map(|(name, value)| format!("{name}={value}")).collect();
    match error {
        LightgbmError::Refused(words) if !given.is_empty() => {
            LightgbmError::Refused(format!("{words} (given {})", given.join(" ")))
        }
        error => error,
    }
}

fn grow(
    mut booster: super::Booster,
    validated: bool,
    parameters: &Parameters,
    on_round: &mut dyn FnMut(Round),
) -> Result<Trained, LightgbmError> {
    let names = if validated { booster.metric_names()? } else { Vec::new() };
    let patience = parameters.patience().filter(|_| !names.is_empty());
    let of = parameters.rounds(patience.is_some());
    let (mut best, mut best_at): (Option<f64>, usize) = (None, 0);
    let mut made = 0;
    for round in 1..=of {
        let finished = booster.update()?;
        made = round;
        let value = if names.is_empty() { None } else { booster.metrics(names.len())?.first().copied() };
        let metric = names.first().cloned().zip(value);
        if let Some((name, value)) = &metric {
            let better = best.is_none_or(|best| if rises(name) { *value > best } else { *value < best });
            if better && value.is_finite() {
                (best, best_at) = (Some(*value), round);
            }
        }
        on_round(Round { round, of, metric });
        let stale = patience.is_some_and(|patience| best_at > 0 && round - best_at >= patience);
        if finished || stale {
            break;
        }
    }
    let rounds = if patience.is_some() && best_at > 0 { best_at } else { made };
    let metric = names.into_iter().next().zip(best);
    Ok(Trained { text: plain_threads(&booster.text(rounds)?), rounds, metric, warnings: Vec::new() })
}

/// The number of threads changes nothing in a model: it is not left in its text, so that this does not change either.
fn plain_threads(text: &str) -> String {
    let line =
        |line: &str| if line.starts_with("[num_threads: ") { "[num_threads: 0]" } else { line }.to_owned() + "\n";
    text.lines().map(line).collect()
}

fn warnings(log: &str) -> Vec<String> {
    let mut seen = Vec::new();
    for line in log.lines() {
        let Some(words) = line.trim().strip_prefix("[LightGBM] [Warning] ") else { continue };
        if !seen.iter().any(|s| s == words) && seen.len() < 20 {
            seen.push(words.to_owned());
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_told_once_and_threads_are_left_out_of_the_text() {
        let log = "[LightGBM] [Warning] a\n[LightGBM] [Info] b\n[LightGBM] [Warning] a\n";
        assert_eq!(warnings(log), ["a"]);
        assert_eq!(plain_threads("x\n[num_threads: 8]\n"), "x\n[num_threads: 0]\n");
        assert!(rises("auc") && rises("ndcg@3") && !rises("binary_logloss"));
    }
}

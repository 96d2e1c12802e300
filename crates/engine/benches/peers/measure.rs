//! The race: every engine in turn, round after round, at every batch size.

use serde_json::{Value, json};

use crate::Contestant;
use crate::clock;
use crate::contender::Failed;

/// Rows in a call.
pub(crate) const BATCHES: [usize; 5] = [1, 8, 64, 1000, 8192];
/// Rounds; a figure is the median over them.
pub(crate) const ROUNDS: usize = 15;
/// What an engine takes of a round, in seconds of processor time, unless one call takes more.
const SAMPLE_SECONDS: f64 = 0.02;

/// What was found about an engine.
pub(crate) struct Measured {
    name: &'static str,
    /// For each batch size the microseconds a row of each round, sorted.
    batches: Vec<(usize, Vec<f64>)>,
    exactness: Exactness,
}

/// How margins compare with the training library's.
#[derive(Default)]
struct Exactness {
    rows: usize,
    equal: usize,
    largest_difference: f64,
}

/// Measures all engines. An error where this project's own margins differ from the training library's in one bit.
pub(crate) fn all(model: &str, mut engines: Vec<Contestant>) -> Result<Vec<Measured>, Failed> {
    let mut measured: Vec<Measured> =
        engines.iter().map(|e| Measured { name: e.name, batches: vec![], exactness: Exactness::default() }).collect();
    for rows in BATCHES {
        eprintln!("{model}: batches of {rows}, {} engines, {ROUNDS} rounds", engines.len());
        for (contestant, found) in engines.iter_mut().zip(&mut measured) {
            contestant.engine.prepare(rows)?;
            // The others sum alike whatever the size; ours takes different ways.
            if contestant.is_ours() || rows == BATCHES[0] {
                found.exactness = exactness(model, contestant, rows)?;
            }
        }
        for (found, samples) in measured.iter_mut().zip(race(&mut engines, rows)?) {
            found.batches.push((rows, samples));
        }
    }
    Ok(measured)
}

/// For each engine the sorted microseconds a row of all rounds.
fn race(engines: &mut [Contestant], rows: usize) -> Result<Vec<Vec<f64>>, Failed> {
    let batches = engines.first().map_or(1, |e| e.expected.len() / rows);
    let mut lanes = engines.iter().map(|_| Lane { calls: 1, next: 0, samples: vec![] }).collect::<Vec<_>>();
    for (contestant, lane) in engines.iter_mut().zip(&mut lanes) {
        while lane.time(contestant, batches, lane.calls)? < SAMPLE_SECONDS / 2.0 {
            lane.calls *= 2;
        }
    }
    for round in 0..ROUNDS {
        // Nobody has the same neighbour before him in all rounds.
        for turn in 0..engines.len() {
            let at = if round % 2 == 0 { turn } else { engines.len() - 1 - turn };
            let (contestant, lane) = (&mut engines[at], &mut lanes[at]);
            // Untimed: the model comes back into the caches.
            lane.time(contestant, batches, lane.calls / 8)?;
            let seconds = lane.time(contestant, batches, lane.calls)?;
            lane.samples.push(seconds * 1e6 / (lane.calls * rows) as f64);
        }
    }
    for lane in &mut lanes {
        lane.samples.sort_by(f64::total_cmp);
    }
    Ok(lanes.into_iter().map(|lane| lane.samples).collect())
}

/// An engine's state in a race.
struct Lane {
    /// Calls in a sample.
    calls: usize,
    /// The batch of the next call: rows differ from call to call, so that no branch predictor learns them.
    next: usize,
    samples: Vec<f64>,
}

impl Lane {
    /// Processor time of so many calls.
    fn time(&mut self, contestant: &mut Contestant, batches: usize, calls: usize) -> Result<f64, Failed> {
        let started = clock::thread()?;
        for _ in 0..calls {
            contestant.engine.score(self.next)?;
            self.next = if self.next + 1 == batches { 0 } else { self.next + 1 };
        }
        Ok(clock::thread()? - started)
    }
}

fn exactness(model: &str, contestant: &mut Contestant, rows: usize) -> Result<Exactness, Failed> {
    let mut found = Exactness::default();
    for (batch, expected) in contestant.expected.clone().chunks_exact(rows).enumerate() {
        let margins = contestant.engine.margins(batch)?;
        if margins.len() != rows {
            return Err(format!("{}: {} margins for {rows} rows", contestant.name, margins.len()).into());
        }
        for (&came, &expected) in margins.iter().zip(expected) {
            found.rows += 1;
            found.equal += usize::from(came.to_bits() == expected.to_bits());
            found.largest_difference = found.largest_difference.max((came - expected).abs());
        }
    }
    if contestant.is_ours() && found.equal != found.rows {
        let (name, equal, all) = (contestant.name, found.equal, found.rows);
        return Err(format!("{name}, {model}, batches of {rows}: {equal} of {all} rows are equal to the bit").into());
    }
    Ok(found)
}

impl Measured {
    /// As the report has it.
    pub(crate) fn json(&self) -> Value {
        let quantile = |samples: &[f64], q: usize| samples[(samples.len() - 1) * q / 4];
        let batches: Vec<Value> = self
            .batches
            .iter()
            .map(|(rows, samples)| {
                let [low, median, high] = [1, 2, 3].map(|q| quantile(samples, q));
                json!({"rows": rows, "us_per_row": median, "low": low, "high": high})
            })
            .collect();
        json!({
            "name": self.name,
            "batches": batches,
            "rows": self.exactness.rows,
            "equal_rows": self.exactness.equal,
            "largest_difference": self.exactness.largest_difference,
        })
    }
}

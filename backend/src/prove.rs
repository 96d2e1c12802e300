//! Golden rows: a version answers only after it has given the results that its trainer's own library gave.
//!
//! The rows go through the decoder and the engine as a request does; what agrees is said by [`Golden::compare`].

use std::sync::Arc;
use std::time::Duration;

use headgate_contract::Kind;
use headgate_contract::manifest::golden::{Cell, Golden, Precision, Results};
use headgate_engine::{MarginKind, Outputs, Want};
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::decode::{Bounds, Form};
use crate::life::stage::{Failure, off_thread};
use crate::predict::Desk;
use crate::refusal::Refusal;
use crate::servable::Servable;

/// How long what scores elsewhere may take for the golden rows: it may have to warm up.
const TIME_MAX: Duration = Duration::from_secs(60);
/// All that there is to compare.
const WANT: Want = Want { margins: true, outputs: true, contributions: false };

/// Proves a version, off the request threads, and gives it back. The failure says which row differs, what was expected
/// and what came: the version's own fault.
pub async fn prove(servable: Servable) -> Result<Servable, Failure> {
    if servable.manifest.golden.is_none() {
        return Ok(servable);
    }
    let (servable, mut desk) = off_thread(move || {
        let mut desk = Desk::default();
        read(&servable, &mut desk)?;
        if servable.predictor().is_none() {
            let scored = desk.score(&servable, WANT).map_err(unscored)?;
            compare(&servable, scored)?;
        }
        Ok::<_, Failure>((servable, desk))
    })
    .await??;
    if let Some(predictor) = servable.predictor() {
        let predictor = Arc::clone(predictor);
        let scored = predictor.score(desk.take(), WANT, Instant::now() + TIME_MAX).await.map_err(unscored)?;
        compare(&servable, &scored)?;
    }
    Ok(servable)
}

fn read(servable: &Servable, desk: &mut Desk) -> Result<(), Failure> {
    let Some(golden) = &servable.manifest.golden else { return Ok(()) };
    let bounds = Bounds { rows_max: golden.rows, strict: true };
    let asked = desk.read(servable, Form::V1, &body(golden), bounds);
    asked.map(drop).map_err(|e| Failure::own(format!("golden rows are refused: {e}")))
}

fn unscored(why: Refusal) -> Failure {
    let words = format!("golden rows can't be scored: {why}");
    // What scores elsewhere may have no room now, or be starting anew.
    match why.kind {
        Kind::Overloaded | Kind::Unavailable => Failure::passing(words),
        _ => Failure::own(words),
    }
}

fn compare(servable: &Servable, scored: &Outputs) -> Result<(), Failure> {
    let Some(golden) = &servable.manifest.golden else { return Ok(()) };
    let precision = match servable.engine().map(|e| e.margin_kind()) {
        Some(MarginKind::F64) | None => Precision::F64,
        Some(MarginKind::F32) => Precision::F32,
    };
    let results = Results { precision, margins: &scored.margins, outputs: &scored.values };
    golden.compare(&servable.manifest.engine.name, results).map_err(Failure::own)
}

/// The golden rows as a caller would send them.
fn body(golden: &Golden) -> Vec<u8> {
    let value = |cell: &Cell| match cell {
        Cell::Missing => Value::Null,
        Cell::Bool(value) => Value::from(*value),
        Cell::Number(value) => Value::from(*value),
        Cell::Text(text) => Value::from(text.as_str()),
    };
    let row = |row: usize| -> Map<String, Value> {
        let cells = golden.inputs.iter().filter_map(|i| Some((i.name.clone(), value(i.values.get(row)?))));
        cells.collect()
    };
    let rows: Vec<_> = (0..golden.rows).map(row).collect();
    serde_json::to_vec(&serde_json::json!({ "instances": rows })).unwrap_or_default()
}

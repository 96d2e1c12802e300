//! Golden rows: a version answers only after it has given the results that its trainer's own library gave.
//!
//! The rows go through the decoder and the engine as a request does; what agrees is said by [`Golden::compare`].

use headgate_contract::manifest::golden::{Cell, Golden, Precision, Results};
use headgate_contract::route::Protocol;
use headgate_engine::{MarginKind, Want};
use serde_json::{Map, Value};

use crate::decode::Bounds;
use crate::predict::Desk;
use crate::servable::Servable;

/// Proves a version. The error says which row differs, what was expected and what came: the version's own fault.
pub fn prove(servable: &Servable) -> Result<(), String> {
    let Some(golden) = &servable.manifest.golden else {
        return Ok(());
    };
    let mut desk = Desk::default();
    let bounds = Bounds { rows_max: golden.rows, strict: true };
    desk.read(servable, Protocol::V1, &body(golden), bounds).map_err(|e| format!("golden rows are refused: {e}"))?;
    let want = Want { margins: true, outputs: true, contributions: false };
    let outputs = desk.score(servable, want).map_err(|e| format!("golden rows can't be scored: {e}"))?;
    let Some(engine) = servable.engine() else {
        return Err("the version is being unloaded".to_owned());
    };
    let precision = match engine.margin_kind() {
        MarginKind::F64 => Precision::F64,
        MarginKind::F32 => Precision::F32,
    };
    let results = Results { precision, margins: &outputs.margins, outputs: &outputs.values };
    golden.compare(&servable.manifest.engine.name, results).map_err(|e| e.to_string())
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

//! A model file of any format: it loads within its bounds or is refused, and what loads scores.
#![no_main]

use headgate_engine::{Batch, Format, Limits, Outputs, Scratch, Want, catboost, forest_json, lightgbm, xgboost};
use libfuzzer_sys::fuzz_target;

const VALUES: [f64; 9] = [f64::NAN, 0.0, -1.0, 1e9, f64::INFINITY, f64::NEG_INFINITY, 3.0, 1e-36, 31.5];

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { max_memory_bytes: 64 << 20, max_features: 4096, max_outputs: 256, ..Limits::default() };
    let Some(format) = headgate_engine::sniff(bytes) else { return };
    match format {
        Format::LightgbmText => drop(lightgbm::describe(bytes)),
        Format::XgboostJson | Format::XgboostUbj => drop(xgboost::describe(format, bytes)),
        Format::CatboostJson => drop(catboost::describe(bytes)),
        Format::ForestJson => drop(forest_json::describe(bytes)),
        Format::LinearJson | Format::LinearHashed => {}
    }
    let Ok(engine) = headgate_engine::load(format, bytes, &limits) else { return };
    let (mut scratch, mut out, mut alone) = (Scratch::default(), Outputs::default(), Vec::new());
    let want = Want { margins: true, outputs: true, contributions: false };
    // Each number of rows is scored in another way, and with the same bits.
    for rows in [1, 8, 9, 17] {
        let mut batch = Batch::new(engine.inputs(), rows);
        for column in 0..engine.inputs() {
            batch.column_mut(column).iter_mut().enumerate().for_each(|(r, v)| *v = VALUES[(column + r) % VALUES.len()]);
        }
        engine.score(&batch, &mut scratch, &mut out, want).expect("a loaded model scores whatever values");
        assert_eq!(out.margins.len(), rows * engine.margin_width());
        assert_eq!(out.values.len(), rows * engine.output_width());
        let first: Vec<u64> = out.margins[..engine.margin_width()].iter().map(|m| m.to_bits()).collect();
        if rows == 1 {
            alone = first;
        } else {
            assert_eq!(first, alone, "the first of {rows} rows");
        }
    }
});

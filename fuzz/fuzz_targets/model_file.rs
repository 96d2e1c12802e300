//! A model file of any format: it loads within its bounds or is refused, and what loads scores.
#![no_main]

use headgate_engine::{Batch, Format, Limits, Outputs, Scratch, Want, catboost, forest_json, lightgbm, xgboost};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { max_memory_bytes: 64 << 20, max_features: 4096, max_outputs: 256 };
    let Some(format) = headgate_engine::sniff(bytes) else { return };
    match format {
        Format::LightgbmText => drop(lightgbm::describe(bytes)),
        Format::XgboostJson | Format::XgboostUbj => drop(xgboost::describe(format, bytes)),
        Format::CatboostJson => drop(catboost::describe(bytes)),
        Format::ForestJson => drop(forest_json::describe(bytes)),
        Format::LinearJson | Format::LinearHashed => {}
    }
    let Ok(engine) = headgate_engine::load(format, bytes, &limits) else { return };
    let batch = Batch::new(engine.inputs(), 3);
    let mut out = Outputs::default();
    let want = Want { margins: true, outputs: true, contributions: false };
    engine.score(&batch, &mut Scratch::default(), &mut out, want).expect("a loaded model scores a row of missing values");
    assert_eq!(out.margins.len(), 3 * engine.margin_width());
    assert_eq!(out.values.len(), 3 * engine.output_width());
});

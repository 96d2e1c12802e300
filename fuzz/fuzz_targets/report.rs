//! A backend's report as a gateway reads it: read or refused, and written and read again the same.
#![no_main]

use headgate_contract::fleet::{Register, StateReport};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = serde_json::from_slice::<Register>(bytes);
    let Ok(report) = serde_json::from_slice::<StateReport>(bytes) else { return };
    for model in &report.models {
        assert_eq!(model.model.as_str().parse().as_ref(), Ok(&model.model));
        for version in &model.versions {
            assert!(version.version.get() > 0);
            let _ = (version.state.as_str(), version.state.as_index());
        }
    }
    let written = serde_json::to_vec(&report).expect("a report can be written");
    let again: StateReport = serde_json::from_slice(&written).expect("what was written is read");
    assert_eq!(serde_json::to_vec(&again).expect("a report can be written"), written);
});
